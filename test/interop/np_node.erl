%% The nodes of a test: the native one that most cases share (main), native and BEAM nodes of a case's own, epmds.
%% Whatever a process started here is ended when that process ends. A case with nodes of its own drives its BEAMs
%% over their standard io (on/2), never over distribution, so that no test reaches into another's cluster.
-module(np_node).
-export([start/0, stop/0, owner_gone/1, mode/0, print_logs_of/1, show_log/1]).
-export([sanitizer_findings/0]).
-export([start_main/0, stop_main/0, main/0, main_info/0]).
-export([native/1, kill/2, wait_exit/2, alive/1, restart/1, log/1, mark/1, since/2, logged/3, rss_kb/1, rss/1,
         sanitized/0]).
-export([beam/1, on/2, on/3, stop_beam/1, beam_logs/0, allow_log_line/2, allowed_log_lines/0, lines/1]).
-export([epmd/0, epmd/1, stop_epmd/1, epmd_names/1, free_port/0]).
-export([worker/1, worker/2, whereis/1, unique/1, cookie/0]).
-include("np_test.hrl").

-define(READY_MS, 15000).
-define(COOKIE, "interop").

%% ---- the janitor: who started what ----

start() ->
    Self = self(),
    Pid = spawn(fun() -> register(?MODULE, self()), Self ! {self(), up}, janitor(#{}, []) end),
    receive {Pid, up} -> ok end.

stop() -> call(stop).

owner_gone(Pid) -> call({owner_gone, Pid}).

on_end(Fun) -> call({on_end, self(), Fun}).

%% Should the calling case fail, the end of this node's log is printed.
show_log(Native) -> call({show, self(), log(Native)}).

print_logs_of(Owner) ->
    [io:format("    -- ~s~n~ts", [filename:basename(File), [["    ", L, $\n] || L <- tail(File, 12)]])
        || File <- call({logs_of, Owner})],
    ok.

call(Request) ->
    Ref = monitor(process, ?MODULE),
    ?MODULE ! {self(), Ref, Request},
    receive
        {Ref, Reply} -> demonitor(Ref, [flush]), Reply;
        {'DOWN', Ref, process, _, Reason} -> error({janitor, Reason})
    end.

janitor(Owned, Allowed) ->
    receive
        {From, Ref, {on_end, Owner, Fun}} ->
            From ! {Ref, ok},
            janitor(maps:update_with(Owner, fun(L) -> [Fun | L] end, [Fun], Owned), Allowed);
        {From, Ref, {show, Owner, Log}} ->
            From ! {Ref, ok},
            janitor(maps:update_with({log, Owner}, fun(L) -> lists:usort([Log | L]) end, [Log], Owned), Allowed);
        {From, Ref, {logs_of, Owner}} -> From ! {Ref, maps:get({log, Owner}, Owned, [])}, janitor(Owned, Allowed);
        {From, Ref, {owner_gone, Owner}} ->
            Funs = maps:get(Owner, Owned, []),
            spawn(fun() -> [catch F() || F <- Funs], From ! {Ref, ok} end),
            janitor(maps:remove({log, Owner}, maps:remove(Owner, Owned)), Allowed);
        {From, Ref, {allow, Entry}} -> From ! {Ref, ok}, janitor(Owned, [Entry | Allowed]);
        {From, Ref, allowed} -> From ! {Ref, Allowed}, janitor(Owned, Allowed);
        {From, Ref, stop} -> [catch F() || {Pid, Fs} <- maps:to_list(Owned), is_pid(Pid), F <- Fs], From ! {Ref, ok}
    end.

mode() -> list_to_atom(os:getenv("NP_MODE")).

dir() -> os:getenv("NP_INTEROP_DIR").

cookie() -> ?COOKIE.

unique(Prefix) -> Prefix ++ integer_to_list(erlang:unique_integer([positive])).

%% ---- native nodes ----

%% Options: name, host, connect ([Node]), epmd (port), node (extra lines of the node section), pools (text), args,
%% cookie, wait (false: do not wait for the ready line). Returns a handle; `node` in it is the node's name.
native(Options) ->
    Name = maps:get(name, Options, unique("native")),
    Node = list_to_atom(Name ++ "@" ++ maps:get(host, Options, "127.0.0.1")),
    Base = filename:join([dir(), "log", Name]),
    Cookie = Base ++ ".cookie",
    ok = file:write_file(Cookie, maps:get(cookie, Options, ?COOKIE)),
    ok = file:change_mode(Cookie, 8#600),
    ok = file:write_file(Base ++ ".yaml", config(Node, Cookie, Options)),
    spawn_native(#{node => Node, base => Base, log => Base ++ ".log", options => Options, cookie_file => Cookie}).

%% The same node again, after its end.
restart(Native) -> spawn_native(Native).

spawn_native(#{base := Base, log := Log, options := Options} = Native) ->
    Self = self(),
    Epmd = maps:get(epmd, Options, os:getenv("ERL_EPMD_PORT")),
    {Program, Args} = command(Native, maps:get(args, Options, [])),
    Env = [{"ERL_EPMD_PORT", Epmd}, {"NATIVE_POOL_COOKIE", false} | maps:get(env, Options, [])],
    Keeper = spawn(fun() ->
        Port = open_port({spawn_executable, "/bin/sh"},
                         [{args, ["-c", "exec \"$@\" 2>>\"$0\"", Log, Program | Args]}, {env, Env},
                          {line, 1000}, exit_status, use_stdio, binary]),
        {os_pid, OsPid} = erlang:port_info(Port, os_pid),
        Self ! {self(), OsPid},
        keep(Port, OsPid, [], running, [])
    end),
    OsPid = receive {Keeper, P} -> P after 5000 -> error({cannot_start, Program}) end,
    New = Native#{keeper => Keeper, os_pid => OsPid},
    on_end(fun() -> end_native(New), Keeper ! finish end),
    show_log(New),
    case maps:get(wait, Options, true) andalso ready(New) of
        false -> New;
        true -> New;
        {exited, Status} -> error({not_ready, {exit_status, Status}, tail(Log, 5), Base ++ ".yaml"});
        timeout -> error({not_ready, timeout, tail(Log, 5)})
    end.

%% Orderly, so that a sanitizer has its say at the exit.
end_native(Native) ->
    kill(Native, "CONT"),
    mode() =:= native andalso kill(Native, "TERM"),
    mode() =:= native andalso wait_exit(Native, 5000),
    kill(Native, "KILL").

command(#{base := Base, options := Options}, Args) -> command(mode(), Base, Options, Args).

command(native, Base, _, Args) -> {os:getenv("NP_PROGRAM"), ["--config", Base ++ ".yaml" | Args]};
command(beam, Base, Options, _) ->
    Ticks = [T || "tick_time_s: " ++ T <- maps:get(node, Options, [])],
    {os:find_executable("erl"),
     ["-noinput", "-hidden", "-name", filename:basename(Base) ++ "@127.0.0.1", "-setcookie", ?COOKIE,
      "-pa", filename:join(dir(), "ebin"), "-run", "np_standin", "main"] ++ lists:append([["-kernel", "net_ticktime",
          T] || T <- Ticks])}.

config(Node, Cookie, Options) ->
    Connect = lists:join(", ", [atom_to_list(N) || N <- maps:get(connect, Options, [])]),
    ["node:\n",
     "  name: \"", atom_to_list(Node), "\"\n",
     "  cookie_file: ", Cookie, "\n",
     ["  connect: [" ++ Connect ++ "]\n" || Connect =/= []],
     [["  ", Line, "\n"] || Line <- maps:get(node, Options, [])],
     maps:get(pools, Options, default_pools())].

default_pools() ->
    ["pools:\n"
     "  - name: Elixir.MyPool\n    worker: counter\n    isolation: inline\n    segments: 1\n    start: [1, 2, 3]\n"
     "  - name: Elixir.Echo\n    worker: echo\n    isolation: inline\n    segments: 1\n    start: [1, 2]\n"
     "  - name: Elixir.Kv\n    worker: kv\n    isolation: inline\n    segments: 1\n    start: [1]\n"].

keep(Port, OsPid, Lines, State, Waiters) ->
    receive
        {Port, {data, {_, Line}}} ->
            [W ! {self(), line, Line} || W <- Waiters],
            keep(Port, OsPid, [Line | Lines], State, Waiters);
        {Port, {exit_status, Status}} ->
            [W ! {self(), exited, Status} || W <- Waiters],
            keep(Port, OsPid, Lines, {exited, Status}, Waiters);
        {watch, From} ->
            [From ! {self(), line, L} || L <- lists:reverse(Lines)],
            case State of
                {exited, Status} -> From ! {self(), exited, Status}, keep(Port, OsPid, Lines, State, Waiters);
                running -> keep(Port, OsPid, Lines, State, [From | Waiters])
            end;
        finish -> ok
    end.

ready(#{keeper := Keeper, node := Node}) ->
    Wanted = iolist_to_binary(["native_pool: ready ", atom_to_list(Node)]),
    watched(Keeper, ?READY_MS, fun(line, Line) -> Line =:= Wanted; (exited, S) -> {exited, S} end).

%% Waits until the program is gone: its exit status (128 + signal when killed) or timeout.
wait_exit(#{keeper := Keeper}, Ms) ->
    watched(Keeper, Ms, fun(line, _) -> false; (exited, S) -> {exited, S} end).

watched(Keeper, Ms, Fun) ->
    Self = self(),
    {Pid, Ref} = spawn_monitor(fun() -> Keeper ! {watch, self()}, exit({seen, watch_loop(Keeper, Fun)}) end),
    true = is_pid(Self),
    receive {'DOWN', Ref, process, Pid, {seen, R}} -> R
    after Ms -> exit(Pid, kill), demonitor(Ref, [flush]), timeout
    end.

watch_loop(Keeper, Fun) ->
    receive {Keeper, What, Value} ->
        case Fun(What, Value) of false -> watch_loop(Keeper, Fun); R -> R end
    end.

alive(#{os_pid := OsPid}) -> is_running(OsPid).

%% A zombie is not running.
is_running(OsPid) ->
    case file:read_file(["/proc/", integer_to_list(OsPid), "/stat"]) of
        {ok, Stat} -> [_, After] = string:split(Stat, ") ", trailing), binary:first(After) =/= $Z;
        _ -> false
    end.

kill(#{os_pid := OsPid, keeper := Keeper}, Signal) ->
    case is_process_alive(Keeper) andalso is_running(OsPid) of
        true -> os:cmd(["kill -", Signal, " ", integer_to_list(OsPid)]), ok;
        false -> ok
    end.

log(#{log := Log}) -> Log.

%% A place in the log, and the lines behind it.
mark(#{log := Log}) -> filelib:file_size(Log).

since(#{log := Log}, Mark) ->
    {ok, File} = file:open(Log, [read, raw, binary]),
    Text = case file:pread(File, Mark, 10000000) of {ok, T} -> T; eof -> <<>> end,
    file:close(File),
    string:split(string:trim(Text), "\n", all).

%% Waits for a line behind Mark that holds all of Texts.
logged(Native, Mark, Texts) ->
    np_test:eventually(fun() ->
        Lines = since(Native, Mark),
        lists:any(fun(L) -> lists:all(fun(T) -> string:find(L, T) =/= nomatch end, Texts) end, Lines)
            orelse {no_line_with, Texts, lists:sublist(Lines, 10)}
    end).

rss(#{os_pid := OsPid}) -> rss_kb(OsPid).

rss_kb(OsPid) ->
    {ok, Status} = file:read_file(["/proc/", integer_to_list(OsPid), "/status"]),
    {match, [Kb]} = re:run(Status, "VmRSS:\\s+([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Kb).

%% A program built with a sanitizer keeps freed memory for a while: then memory is shown but not judged.
sanitized() ->
    {ok, Bytes} = file:read_file(os:getenv("NP_PROGRAM")),
    binary:match(Bytes, <<"__asan_init">>) =/= nomatch.

%% ---- the shared native node ----

start_main() ->
    Main = native(#{name => "native"}),
    persistent_term:put(?MODULE, Main),
    ok.

main_info() -> persistent_term:get(?MODULE).

main() ->
    show_log(main_info()),
    maps:get(node, main_info()).

%% The program must end by itself after SIGTERM, with 0.
stop_main() ->
    Main = main_info(),
    case alive(Main) of
        false -> {failed, error, {died_during_the_run, wait_exit(Main, 1000)}, []};
        true ->
            kill(Main, "TERM"),
            case wait_exit(Main, 15000) of
                {exited, 0} -> ok;
                Other -> {failed, error, {sigterm, Other}, []}
            end
    end.

%% What a sanitizer said in the log of any native node.
sanitizer_findings() ->
    [[filename:basename(F), ": ", L] || F <- filelib:wildcard(filename:join([dir(), "log", "*.log"])),
        L <- lines(F), re:run(L, "runtime error|AddressSanitizer|LeakSanitizer|ThreadSanitizer") =/= nomatch].

tail(File, N) ->
    All = lines(File),
    lists:nthtail(max(0, length(All) - N), All).

lines(File) ->
    case file:read_file(File) of
        {ok, Text} -> string:split(string:trim(Text), "\n", all);
        _ -> []
    end.

%% A worker of the shared node (or of Node) that nobody else uses and that is not restarted.
worker(Pool) -> worker(main(), Pool).

worker(Node, Pool) ->
    Module = list_to_atom(atom_to_list(Pool) ++ ".Worker"),
    Sup = list_to_atom(atom_to_list(Pool) ++ ".WorkerSupervisor"),
    Ref = {ref, Module, {node(), os:getpid(), erlang:unique_integer([positive])}},
    {ok, Pid} = gen_server:call({Sup, Node}, {start_child, {{Module, start_link, [Ref, []]}, temporary, 5000, worker,
                                                            [Module]}}),
    Pid.

%% The pid behind a registered name of the shared node.
whereis(Name) -> erpc:call(main(), erlang, whereis, [Name], 5000).

%% ---- BEAM nodes ----

%% Options: name, args, epmd, cookie, visible (false: hidden). The node has the suites on its path and a log of its own.
beam(Options) ->
    Name = maps:get(name, Options, unique("beam")),
    Log = filename:join([dir(), "log", Name ++ ".beam.log"]),
    {ok, Peer, Node} = peer:start(#{
        name => Name, host => maps:get(host, Options, "127.0.0.1"), longnames => true, connection => standard_io,
        wait_boot => 20000, shutdown => {halt, 5000},
        env => [{"ERL_EPMD_PORT", maps:get(epmd, Options, os:getenv("ERL_EPMD_PORT"))}],
        args => ["-setcookie", maps:get(cookie, Options, ?COOKIE), "-pa", filename:join(dir(), "ebin"),
                 "-kernel", "prevent_overlapping_partitions", "false",
                 "-kernel", "logger", "[{handler,default,logger_std_h,#{config=>#{file=>\"" ++ Log ++ "\"}}}]"]
                ++ ["-hidden" || not maps:get(visible, Options, true)] ++ maps:get(args, Options, [])}),
    on_end(fun() -> peer:stop(Peer) end),
    #{peer => Peer, node => Node, log => Log, os_pid => list_to_integer(peer:call(Peer, os, getpid, []))}.

on(Beam, Fun) -> on(Beam, Fun, 30000).

on(#{peer := Peer}, Fun, Ms) -> peer:call(Peer, erlang, apply, [Fun, []], Ms).

stop_beam(#{peer := Peer}) -> peer:stop(Peer).

beam_logs() -> filelib:wildcard(filename:join([dir(), "log", "*.beam.log"])).

%% A case that provokes a BEAM's complaint on purpose says so.
allow_log_line(#{log := Log}, Text) -> call({allow, {Log, Text}}).

allowed_log_lines() -> call(allowed).

%% ---- epmd ----

epmd() -> epmd(free_port()).

epmd(PortNumber) ->
    Self = self(),
    Text = integer_to_list(PortNumber),
    Keeper = spawn(fun() ->
        Port = open_port({spawn_executable, os:find_executable("epmd")},
                         [{args, ["-port", Text, "-address", "127.0.0.1"]}, exit_status, stderr_to_stdout, binary]),
        {os_pid, OsPid} = erlang:port_info(Port, os_pid),
        Self ! {self(), OsPid},
        keep(Port, OsPid, [], running, [])
    end),
    OsPid = receive {Keeper, P} -> P after 5000 -> error(no_epmd) end,
    Epmd = #{port => Text, os_pid => OsPid, keeper => Keeper},
    on_end(fun() -> stop_epmd(Epmd) end),
    np_test:eventually(fun() -> is_list(epmd_names(Text)) end, 5000),
    Epmd.

stop_epmd(Epmd) ->
    kill(Epmd, "KILL"),
    wait_exit(Epmd, 2000),
    ok.

%% [{Name, Port}] or an error.
epmd_names(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, list_to_integer(Port), [binary, {active, false}], 1000) of
        {ok, S} ->
            ok = gen_tcp:send(S, <<1:16, 110>>),
            Text = read_all(S, <<>>),
            gen_tcp:close(S),
            case Text of
                <<_:32, Names/binary>> ->
                    {match, Found} = case re:run(Names, "name (\\S+) at port (\\d+)",
                                                 [global, {capture, all_but_first, list}]) of
                        nomatch -> {match, []};
                        M -> M
                    end,
                    [{N, list_to_integer(P)} || [N, P] <- Found];
                _ -> {error, short}
            end;
        Error -> Error
    end.

read_all(S, Acc) ->
    case gen_tcp:recv(S, 0, 2000) of
        {ok, B} -> read_all(S, <<Acc/binary, B/binary>>);
        {error, _} -> Acc
    end.

free_port() ->
    {ok, S} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, P} = inet:port(S),
    gen_tcp:close(S),
    P.
