%% The driver of the benchmark: asks three targets the same things in turn, round after round, and prints the medians.
%% Runs on a BEAM node of its own; `run' starts it and the targets, and says in the environment what to do:
%% NPB_MODE pinned | free, NPB_QUICK 0 | 1, NPB_TARGETS "beam native ei", NPB_PIDS "beam=1 native=2 ei=3", NPB_PINGPONG.
-module(np_bench).
-export([main/0]).

-define(MANY, 1000).

main() ->
    try
        run(),
        halt(0)
    catch
        Class:Reason:Stack -> io:format("bench: ~p:~0tP~n~p~n", [Class, Reason, 40, Stack]), halt(1)
    end.

run() ->
    OsPids = maps:from_list([{list_to_atom(K), V} || KV <- words("NPB_PIDS"), [K, V] <- [string:split(KV, "=")]]),
    Targets = [connect(list_to_atom(T), maps:get(list_to_atom(T), OsPids)) || T <- words("NPB_TARGETS")],
    Rounds = case quick() of true -> 3; false -> 5 end,
    [warm_up(T) || T <- Targets],
    Floor = [pingpong() || _ <- lists:seq(1, Rounds)],
    Rows = lists:flatmap(fun(Measure) -> measure(Measure, Targets, Rounds) end, measures()),
    print(Rows, [Name || #{name := Name} <- Targets], {median([A || {A, _, _} <- Floor]),
                                                       median([B || {_, B, _} <- Floor]),
                                                       median([C || {_, _, C} <- Floor])}).

quick() -> os:getenv("NPB_QUICK") =:= "1".
mode() -> list_to_atom(os:getenv("NPB_MODE")).
words(Variable) -> string:lexemes(os:getenv(Variable), " ").

%% ---- the targets: {one worker, a thousand workers} ----

connect(Name, OsPid) ->
    Node = list_to_atom("bench_" ++ atom_to_list(Name) ++ "@127.0.0.1"),
    true = net_kernel:hidden_connect_node(Node),
    Pids = workers(Name, Node),
    ?MANY = length(Pids),
    #{name => Name, os_pid => OsPid, one => hd(Pids), many => Pids}.

workers(beam, Node) -> {np_bench_worker, Node} ! {start, self(), ?MANY}, pids();
workers(ei, Node) -> {echo, Node} ! {pids, self(), ?MANY}, pids();
workers(native, Node) ->
    [begin {ok, P} = gen_server:call({'Elixir.Bench.Server', Node}, {whereis, Id}), P end || Id <- lists:seq(1, ?MANY)].

pids() -> receive {pids, Pids} -> Pids after 5000 -> error(no_pids) end.

%% GenServer.call: libei answers without the alias' protection, all else is the same.
call(Pid, Request) -> gen_server:call(Pid, Request, 30000).

warm_up(#{one := One, many := Many}) ->
    [call(One, <<0:256>>) || _ <- lists:seq(1, 3000)],
    [call(P, warm) || P <- Many].

%% ---- what is measured: each measure gives rows {Key, Text, Unit, better: lower | higher, Value} ----

measures() ->
    [fun(T) -> latency(T, "32 B", 32, n(20000, 4000)) end,
     fun(T) -> latency(T, "1 KB", 1024, n(15000, 2000)) end,
     fun(T) -> latency(T, "64 KB", 65536, n(2000, 300)) end]
    ++ [fun(T) -> throughput(T, Callers, Workers) end || Workers <- [one, many], Callers <- [16, 64, 256]]
    ++ [fun(T) -> casts(T, Workers) end || Workers <- [one, many]].

n(Full, Quick) -> case quick() of true -> Quick; false -> Full end.

measure(Fun, Targets, Rounds) ->
    Results = [[{Name, Fun(T)} || #{name := Name} = T <- Targets] || _ <- lists:seq(1, Rounds)],
    [{_, First} | _] = hd(Results),
    [{Key, Text, Unit, Better,
      maps:from_list([{Name, median([value(Key, proplists:get_value(Name, R)) || R <- Results])}
                      || #{name := Name} <- Targets])}
     || {Key, Text, Unit, Better, _} <- First].

value(Key, Rows) -> {Key, _, _, _, Value} = lists:keyfind(Key, 1, Rows), Value.

latency(#{one := P} = T, Label, Bytes, N) ->
    Request = rand:bytes(Bytes),
    erlang:garbage_collect(),
    {Times, Cpu, Both} = cpu_us(T, fun() -> timed_calls(P, Request, N, []) end),
    Sorted = list_to_tuple(lists:sort(Times)),
    [{{p50, Bytes}, "call " ++ Label ++ ", p50", "us", lower, nth(Sorted, 0.5)},
     {{p99, Bytes}, "call " ++ Label ++ ", p99", "us", lower, nth(Sorted, 0.99)},
     {{cpu, Bytes}, "  CPU of the target per call", "us", lower, Cpu / N},
     {{both, Bytes}, "  CPU of driver and target per call", "us", lower, Both / N}].

timed_calls(_, _, 0, Acc) -> Acc;
timed_calls(P, Request, N, Acc) ->
    T0 = erlang:monotonic_time(nanosecond),
    _ = call(P, Request),
    T1 = erlang:monotonic_time(nanosecond),
    timed_calls(P, Request, N - 1, [(T1 - T0) / 1000 | Acc]).

nth(Sorted, Q) -> element(max(1, round(Q * tuple_size(Sorted))), Sorted).

throughput(#{one := One, many := Many} = T, Callers, Workers) ->
    Ms = n(1000, 300),
    Targets = case Workers of one -> {One}; many -> list_to_tuple(Many) end,
    {{Count, TookUs}, Cpu, Both} = cpu_us(T, fun() -> call_storm(Targets, Callers, Ms) end),
    Label = case Workers of one -> "1 worker"; many -> "1000 workers" end,
    [{{calls, Callers, Workers}, io_lib:format("calls, ~b callers, ~s", [Callers, Label]), "1/s", higher,
      Count * 1.0e6 / TookUs},
     {{cpu, Callers, Workers}, "  CPU of the target per call", "us", lower, Cpu / Count},
     {{both, Callers, Workers}, "  CPU of driver and target per call", "us", lower, Both / Count}].

%% Each caller calls one worker after the other until the time is over.
call_storm(Targets, Callers, Ms) ->
    Self = self(),
    Size = tuple_size(Targets),
    Begin = erlang:monotonic_time(microsecond),
    Stop = Begin + Ms * 1000,
    Pids = [spawn_link(fun() -> Self ! {self(), caller(Targets, (K * Size div Callers) rem Size, Stop, 0)} end)
            || K <- lists:seq(1, Callers)],
    Count = lists:sum([receive {P, N} -> N end || P <- Pids]),
    {Count, erlang:monotonic_time(microsecond) - Begin}.

caller(Targets, At, Stop, N) ->
    _ = call(element(At + 1, Targets), <<"a request of 32 bytes, no longer">>),
    case erlang:monotonic_time(microsecond) >= Stop of
        true -> N + 1;
        false -> caller(Targets, (At + 1) rem tuple_size(Targets), Stop, N + 1)
    end.

%% N casts spread over the workers, then each worker says how many it had: the time until all have.
casts(#{one := One, many := Many} = T, Workers) ->
    N = n(200000, 40000),
    {Targets, Label} = case Workers of one -> {[One], "1 worker"}; many -> {Many, "1000 workers"} end,
    _ = barrier(Targets),
    T0 = erlang:monotonic_time(microsecond),
    {Sunk, Cpu, Both} = cpu_us(T, fun() -> cast_all(Targets, N), barrier(Targets) end),
    Us = erlang:monotonic_time(microsecond) - T0,
    Sunk =:= N orelse error({casts_lost, maps:get(name, T), N, Sunk}),
    [{{casts, Workers}, "casts, " ++ Label, "1/s", higher, N * 1.0e6 / Us},
     {{cpu_cast, Workers}, "  CPU of the target per cast", "us", lower, Cpu / N},
     {{both_cast, Workers}, "  CPU of driver and target per cast", "us", lower, Both / N}].

cast_all(Targets, N) -> cast_all(Targets, Targets, N).

cast_all(_, _, 0) -> ok;
cast_all([], All, N) -> cast_all(All, All, N);
cast_all([P | Rest], All, N) ->
    gen_server:cast(P, <<"a request of 32 bytes, no longer">>),
    cast_all(Rest, All, N - 1).

barrier(Targets) ->
    Requests = [gen_server:send_request(P, sunk) || P <- Targets],
    lists:sum([begin {reply, N} = gen_server:wait_response(R, 60000), N end || R <- Requests]).

%% ---- CPU time of a process: all its threads, in microseconds, exact (the scheduler's own count) ----

%% {Result, of the target, of target and driver}. On one CPU the latter is the time that a call takes when nothing
%% else wants the CPU: it says the truth on a busy machine, too.
cpu_us(#{os_pid := OsPid}, Fun) ->
    Before = process_cpu_us(OsPid),
    DriverBefore = process_cpu_us(os:getpid()),
    Result = Fun(),
    Driver = process_cpu_us(os:getpid()) - DriverBefore,
    Target = process_cpu_us(OsPid) - Before,
    {Result, Target, Target + Driver}.

process_cpu_us(OsPid) ->
    lists:sum([begin
                   {ok, Text} = file:read_file(File),
                   [Ns | _] = string:lexemes(Text, " "),
                   binary_to_integer(Ns) / 1000
               end || File <- filelib:wildcard("/proc/" ++ OsPid ++ "/task/*/schedstat")]).

pingpong() ->
    [P50, P99, Cpu] = string:lexemes(os:cmd(os:getenv("NPB_PINGPONG") ++ n(" 20000", " 5000")), " \n"),
    {list_to_integer(P50) / 1000, list_to_integer(P99) / 1000, list_to_integer(Cpu) / 1000}.

median(L) -> lists:nth((length(L) + 1) div 2, lists:sort(L)).

%% ---- the table ----

print(Rows, Names, {P50, P99, Cpu}) ->
    Others = Names -- [beam],
    io:format("~n== ~s ==~n", [case mode() of pinned -> "pinned: driver and target on one CPU";
                               free -> "free: all CPUs" end]),
    io:format("~-40s ~4s", ["median of the rounds", ""]),
    [io:format("~12s", [N]) || N <- Names],
    [io:format("~12s", [[atom_to_list(N), "/beam"]]) || N <- Others],
    io:format("~n"),
    [begin
         io:format("~-40s ~4s", [Text, Unit]),
         [io:format("~12s", [number(maps:get(N, Values))]) || N <- Names],
         [io:format("~12s", [ratio(maps:get(N, Values), maps:get(beam, Values))]) || N <- Others],
         io:format("~n")
     end || {_, Text, Unit, _, Values} <- Rows],
    io:format("floor: raw TCP ping-pong of 64 B, p50 ~.1f us, p99 ~.1f us, CPU of the answering side ~.1f us~n",
              [P50, P99, Cpu]),
    mode() =:= pinned andalso lists:member(native, Names) andalso print_targets(Rows),
    ok.

number(V) when V >= 1000 -> integer_to_list(round(V));
number(V) -> io_lib:format("~.2f", [V]).

ratio(V, Beam) -> io_lib:format("~.2f", [V / Beam]).

%% The ratios the project aims at (native to BEAM, pinned).
print_targets(Rows) ->
    io:format("~ntargets, native/beam~n"),
    [begin
         {_, _, _, _, #{native := Native, beam := Beam}} = lists:keyfind(Key, 1, Rows),
         R = Native / Beam,
         {Sign, Met} = case Better of lower -> {"<=", R =< Bound}; higher -> {">=", R >= Bound} end,
         io:format("  ~-34s ~s ~.2f   ~.2f  ~s~n", [Text, Sign, Bound, R, case Met of true -> "met";
                                                    false -> "not met" end])
     end || {Key, Text, Better, Bound} <- [
        {{p50, 32}, "call 32 B, p50", lower, 0.52}, {{p99, 32}, "call 32 B, p99", lower, 0.35},
        {{cpu, 32}, "CPU per call", lower, 0.45},
        {{calls, 64, one}, "calls/s, 64 callers, 1 worker", higher, 1.4},
        {{calls, 64, many}, "calls/s, 64 callers, 1000 workers", higher, 1.4},
        {{casts, many}, "casts/s, 1000 workers", higher, 1.5}]].
