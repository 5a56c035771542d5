%% The driver of the syn benchmark. Its own node is the one on which names have to be visible; `syn' starts it and the
%% two targets, and says in the environment what to do: NPB_PIDS "beam=1 native=2", NPB_QUICK 0 | 1, NPB_NAMES.
-module(np_bench_syn).
-export([main/0]).

-define(SYN, syn).
-define(CALLERS, 32).

main() ->
    try
        run(),
        halt(0)
    catch
        Class:Reason:Stack -> io:format("bench: ~p:~0tP~n~p~n", [Class, Reason, 40, Stack]), halt(1)
    end.

run() ->
    logger:set_primary_config(level, error),
    {ok, _} = application:ensure_all_started(?SYN),
    {ok, Version} = application:get_key(?SYN, vsn),
    OsPids = maps:from_list([{list_to_atom(K), V} || KV <- string:lexemes(os:getenv("NPB_PIDS"), " "),
                             [K, V] <- [string:split(KV, "=")]]),
    Targets = [target(Name, maps:get(Name, OsPids)) || Name <- [beam, native]],
    Third = target(memory, maps:get(memory, OsPids)),
    syn(add_node_to_scopes, [[scope(T) || T <- [Third | Targets]]]),
    [true = net_kernel:hidden_connect_node(maps:get(node, T)) || T <- Targets],
    [meet(T) || T <- Targets],
    Rounds = case quick() of true -> 1; false -> 3 end,
    Count = case quick() of true -> 3000; false -> 10000 end,
    io:format("syn ~s on the BEAM nodes; the target's workers become visible on the driver's node~n", [Version]),
    Remote = rounds(fun remote/2, Targets, Count, Rounds),
    Bulk = rounds(fun bulk/2, Targets, Count, Rounds),
    Names = list_to_integer(os:getenv("NPB_NAMES", "100000")),
    [fill(T, Names) || T <- Targets],
    Fresh = rounds(fun fresh/2, Targets, Names, Rounds),
    Lookup = rounds(fun lookups/2, Targets, 200000, Rounds),
    true = net_kernel:hidden_connect_node(maps:get(node, Third)),
    meet(Third),
    #{bytes := Bytes, worker := WorkerBytes} = memory(Third, 100000),
    print(Remote, Bulk, Fresh, Lookup, Bytes, WorkerBytes, Names).

quick() -> os:getenv("NPB_QUICK") =:= "1".

syn(F, Args) -> erlang:apply(?SYN, F, Args).

target(Name, OsPid) ->
    #{name => Name, os_pid => OsPid, node => list_to_atom("bench_" ++ atom_to_list(Name) ++ "@127.0.0.1")}.

scope(#{name := beam}) -> 'Elixir.BenchBeam.Registry';
scope(#{name := native}) -> 'Elixir.Bench.Registry';
scope(#{name := memory}) -> 'Elixir.BenchMemory.Registry'.

%% Nobody else is in that scope; the size of the table costs nothing to ask for.
seen(T) -> syn(registry_count, [scope(T)]).

%% A native node finds us; of a hidden connection to a BEAM node each has to be told.
meet(#{name := beam, node := Node} = T) ->
    Process = list_to_atom("syn_registry_" ++ atom_to_list(scope(T))),
    {Process, Node} ! {'3.0', discover, whereis(Process)},
    met(T);
meet(T) -> met(T).

met(#{node := Node} = T) -> wait(fun() -> lists:member(Node, syn(subcluster_nodes, [registry, scope(T)])) end).

wait(Fun) -> case Fun() of true -> ok; false -> timer:sleep(1), wait(Fun) end.

ids(Count) ->
    From = persistent_term:get({?MODULE, next}, 1),
    persistent_term:put({?MODULE, next}, From + Count),
    {From, From + Count - 1}.

rounds(Fun, Targets, Count, Rounds) ->
    Results = [[{maps:get(name, T), Fun(T, Count)} || T <- Targets] || _ <- lists:seq(1, Rounds)],
    maps:from_list([{Name, medians([proplists:get_value(Name, R) || R <- Results])}
                    || Name <- [maps:get(name, T) || T <- Targets]]).

medians([First | _] = Maps) -> maps:map(fun(K, _) -> median([maps:get(K, M) || M <- Maps]) end, First).

median(L) -> lists:nth((length(L) + 1) div 2, lists:sort(L)).

%% ---- workers started until the last one is visible here ----

remote(T, Count) -> until_visible(T, Count, fun(From, To) ->
    Self = self(),
    Share = Count div ?CALLERS,
    Pids = [spawn_link(fun() ->
        First = From + K * Share,
        Last = case K of ?CALLERS - 1 -> To; _ -> First + Share - 1 end,
        [start_one(T, Id) || Id <- lists:seq(First, Last)],
        Self ! {self(), done}
    end) || K <- lists:seq(0, ?CALLERS - 1)],
    [receive {P, done} -> ok end || P <- Pids]
end).

start_one(#{name := beam, node := Node} = T, Id) ->
    {ok, _} = supervisor:start_child({np_bench_syn_peer, Node}, [scope(T), Id]);
start_one(#{name := native, node := Node}, Id) ->
    {ok, _} = gen_server:call({'Elixir.Bench.Server', Node}, {start_worker, Id, []}, 60000).

%% Each target starts them all by itself.
bulk(T, Count) -> until_visible(T, Count, fun(From, To) -> start_all(T, From, To) end).

start_all(#{name := beam, node := Node} = T, From, To) ->
    ok = erpc:call(Node, np_bench_syn_peer, bulk, [scope(T), From, To], infinity);
start_all(#{name := native, node := Node}, From, To) ->
    {ok, Starter} = gen_server:call({'Elixir.Asker.Server', Node}, {whereis, 1}),
    [ok = gen_server:call(Starter, {start, 'Elixir.Bench.Server', First, min(To, First + 9999)}, 60000)
     || First <- lists:seq(From, To, 10000)],
    ok.

until_visible(#{os_pid := OsPid} = T, Count, Fun) ->
    Before = seen(T),
    {From, To} = ids(Count),
    Cpu = process_cpu_us(OsPid),
    T0 = erlang:monotonic_time(microsecond),
    Fun(From, To),
    T1 = erlang:monotonic_time(microsecond),
    wait(fun() -> seen(T) =:= Before + Count end),
    T2 = erlang:monotonic_time(microsecond),
    #{rate => Count * 1.0e6 / (T2 - T0), cpu => (process_cpu_us(OsPid) - Cpu) / Count, behind_ms => (T2 - T1) / 1000}.

fill(T, Names) ->
    case Names - seen(T) of
        Missing when Missing > 0 ->
            Chunk = min(Missing, 50000),
            Goal = seen(T) + Chunk,
            {From, To} = ids(Chunk),
            start_all(T, From, To),
            wait(fun() -> seen(T) >= Goal end),
            fill(T, Names);
        _ -> ok
    end.

%% ---- a BEAM node that has just begun ----

fresh(#{node := Node, os_pid := OsPid, name := Name} = T, _) ->
    Scope = scope(T),
    Expected = seen(T),
    {ok, Peer, _} = peer:start_link(#{
        name => "bench_fresh", host => "127.0.0.1", longnames => true, connection => standard_io, wait_boot => 20000,
        args => ["-setcookie", "bench", "-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false"]
                ++ lists:append([["-pa", P] || P <- code:get_path(), filelib:is_dir(P)])}),
    On = fun(M, F, A) -> peer:call(Peer, M, F, A, 600000) end,
    On(logger, set_primary_config, [level, error]),
    {ok, _} = On(application, ensure_all_started, [?SYN]),
    ok = On(?SYN, add_node_to_scopes, [[Scope]]),
    Cpu = process_cpu_us(OsPid),
    T0 = erlang:monotonic_time(microsecond),
    Connect = case Name of beam -> connect_node; native -> hidden_connect_node end,
    true = On(net_kernel, Connect, [Node]),
    wait(fun() -> On(?SYN, registry_count, [Scope]) >= Expected end),
    Us = erlang:monotonic_time(microsecond) - T0,
    Served = process_cpu_us(OsPid) - Cpu,
    peer:stop(Peer),
    wait(fun() -> not lists:member('bench_fresh@127.0.0.1', erpc:call(Node, erlang, nodes, [connected])) end),
    #{ms => Us / 1000, cpu_ms => Served / 1000, names => Expected}.

%% ---- lookups ----

lookups(#{name := beam} = T, Count) ->
    Scope = scope(T),
    Name = np_bench_syn_peer:name('Elixir.BenchBeam.Worker', element(2, ids(0))),
    Us = element(1, timer:tc(fun() -> looking(Scope, Name, Count) end)),
    #{rate => Count * 1.0e6 / Us};
lookups(#{name := native, node := Node}, Count) ->
    {ok, Asker} = gen_server:call({'Elixir.Asker.Server', Node}, {whereis, 1}),
    Name = np_bench_syn_peer:name('Elixir.Bench.Worker', element(2, ids(0))),
    Ns = gen_server:call(Asker, {lookups, 'Elixir.Bench.Registry', Name, Count}, 60000),
    #{rate => Count * 1.0e9 / Ns}.

looking(_, _, 0) -> ok;
looking(Scope, Name, N) -> _ = syn(lookup, [Scope, Name]), looking(Scope, Name, N - 1).

%% ---- memory of a native node of its own: a name of another node's process (another one for each), a worker ----

memory(#{os_pid := OsPid, node := Node} = T, Names) ->
    Empty = rss_bytes(OsPid),
    Scope = scope(T),
    Pids = [spawn_link(fun() -> receive never -> ok end end) || _ <- lists:seq(1, Names)],
    [ok = syn(register, [Scope, np_bench_syn_peer:name('Elixir.Bench.Other', I), P, [{node, node()}]])
        || {I, P} <- lists:zip(lists:seq(1, Names), Pids)],
    Process = {list_to_atom("syn_registry_" ++ atom_to_list(Scope)), Node},
    wait(fun() -> #{entries := N} = sys:get_state(Process), N >= Names end),
    Named = rss_bytes(OsPid),
    Tag = make_ref(),
    [{'Elixir.BenchMemory.Server', Node} ! {'$gen_call', {self(), Tag}, {start_worker, I, []}}
     || I <- lists:seq(1, Names)],
    [receive {Tag, {ok, _}} -> ok end || _ <- lists:seq(1, Names)],
    #{bytes => (Named - Empty) / Names, worker => (rss_bytes(OsPid) - Named) / Names}.

rss_bytes(OsPid) ->
    {ok, Status} = file:read_file("/proc/" ++ OsPid ++ "/status"),
    {match, [Kb]} = re:run(Status, "VmRSS:\\s+([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Kb) * 1024.

process_cpu_us(OsPid) ->
    lists:sum([begin
                   {ok, Text} = file:read_file(File),
                   [Ns | _] = string:lexemes(Text, " "),
                   binary_to_integer(Ns) / 1000
               end || File <- filelib:wildcard("/proc/" ++ OsPid ++ "/task/*/schedstat")]).

%% ---- the table ----

print(#{beam := RB, native := RN}, #{beam := BB, native := BN}, #{beam := FB, native := FN},
      #{beam := LB, native := LN}, Bytes, WorkerBytes, Names) ->
    io:format("~n~-58s ~12s~12s~12s~n", ["median of the rounds", "beam", "native", "native/beam"]),
    row("workers/s until visible, 32 remote callers", rate, RB, RN),
    row("  CPU us of the target per worker", cpu, RB, RN),
    row("workers/s until visible, in bulk", rate, BB, BN),
    row("  CPU us of the target per worker", cpu, BB, BN),
    row("  ms from the last reply until the last is visible", behind_ms, BB, BN),
    row(io_lib:format("ms until a fresh BEAM node sees ~b names", [Names]), ms, FB, FN),
    row("  CPU ms of the serving node", cpu_ms, FB, FN),
    row("lookups/s in the node", rate, LB, LN),
    io:format("~-58s ~12s~12s~n", ["bytes of the native node per name of another node", "", number(Bytes)]),
    io:format("~-58s ~12s~12s~n", ["bytes of the native node per worker with its name", "", number(WorkerBytes)]),
    io:format("~ntargets, native/beam~n"),
    bound("workers/s until visible, 32 remote callers", ratio(rate, RB, RN), ">=", 2.0),
    bound("workers/s until visible, in bulk", ratio(rate, BB, BN), ">=", 2.2),
    bound("time until a fresh BEAM node sees all", ratio(ms, FB, FN), "<=", 1.0),
    bound("CPU of the serving node", ratio(cpu_ms, FB, FN), "<=", 0.2),
    bound("bytes per name", Bytes, "<=", 250).

ratio(Key, Beam, Native) -> maps:get(Key, Native) / max(1.0e-9, maps:get(Key, Beam)).

row(Text, Key, Beam, Native) ->
    io:format("~-58s ~12s~12s~12s~n", [Text, number(maps:get(Key, Beam)), number(maps:get(Key, Native)),
                                       case maps:get(Key, Beam) == 0 of
                                           true -> "";
                                           false -> io_lib:format("~.2f", [ratio(Key, Beam, Native)])
                                       end]).

number(V) when V >= 1000 -> integer_to_list(round(V));
number(V) -> io_lib:format("~.2f", [float(V)]).

bound(Text, Value, Sign, Bound) ->
    Met = case Sign of "<=" -> Value =< Bound; ">=" -> Value >= Bound end,
    io:format("  ~-44s ~s ~s  ~s  ~s~n", [Text, Sign, number(Bound), number(Value),
                                          case Met of true -> "met"; false -> "not met" end]).
