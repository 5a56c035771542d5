%% Things that go away and come back: BEAM nodes, epmd, the native node; both dialling at once; orderly and sudden ends.
-module(it_restarts).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [{C, #{native => true, slow => true, own_node => true, timeout => 60000}} || C <- [
        beam_restarted, beam_killed_and_restarted, epmd_restarted, epmd_starts_late, stray_byte_on_the_epmd_socket,
        name_taken_at_epmd,
        native_killed_and_restarted, node_before_its_seed, simultaneous_native_lower, simultaneous_native_higher,
        simultaneous_by_calls,
        sigterm_ends_with_zero, second_sigterm_ends_at_once, sigterm_tells_the_watchers, sigint_is_like_sigterm,
        connection_reset_mid_message,
        disconnect_storm]].

connected(B, Node) -> np_node:on(B, fun() -> lists:member(Node, nodes(hidden)) end).

eventually_connected(B, Node, Ms) ->
    {Took, R} = np_test:ms(fun() -> np_test:eventually(fun() -> connected(B, Node) end, Ms) end),
    ?assertEqual(ok, R),
    round(Took).

counts(B, Node) -> ?assertEqual(1, np_node:on(B, fun() -> gen_server:call(np_node:worker(Node, ?COUNTER),
    increment) end)).

beam_restarted() -> beam_again(fun(B) -> np_node:stop_beam(B) end).

beam_killed_and_restarted() -> beam_again(fun(#{os_pid := Pid}) -> os:cmd("kill -9 " ++ integer_to_list(Pid)),
                                          timer:sleep(50) end).

%% The seed goes and comes back: within 2 s of its start they are connected again.
beam_again(End) ->
    Name = np_node:unique("beam"),
    B1 = np_node:beam(#{name => Name}),
    #{node := Node} = np_node:native(#{connect => [maps:get(node, B1)]}),
    eventually_connected(B1, Node, 3000),
    Worker = np_node:on(B1, fun() -> P = np_node:worker(Node, ?COUNTER),
                        spawn(fun() -> link(P), monitor(process, P), receive never -> ok end end), P end),
    timer:sleep(100),
    End(B1),
    timer:sleep(3000), % the back-off is at its longest
    B2 = np_node:beam(#{name => Name}),
    Ms = eventually_connected(B2, Node, 2000),
    counts(B2, Node),
    %% What was linked to the former incarnation is dead.
    ?assertMatch({exit, {noproc, _}}, np_node:on(B2, fun() -> np_test:quietly(fun() ->
        gen_server:call(Worker, get) end) end)),
    {note, io_lib:format("~b ms after its boot", [Ms])}.

epmd_restarted() ->
    Epmd = #{port := Port} = np_node:epmd(),
    #{node := Node} = np_node:native(#{epmd => Port}),
    B = np_node:beam(#{epmd => Port}),
    ?assertEqual(pong, np_node:on(B, fun() -> net_adm:ping(Node) end)),
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    ?assert(lists:keymember(Alive, 1, np_node:epmd_names(Port))),
    Creation = fun() -> <<131, Pid/binary>> = term_to_binary(np_node:on(B,
        fun() -> erpc:call(Node, erlang, whereis, [net_kernel]) end)), binary:part(Pid, byte_size(Pid) - 4, 4) end,
    Before = Creation(),
    np_node:stop_epmd(Epmd),
    timer:sleep(300),
    ?assertEqual(pong, np_node:on(B, fun() -> net_adm:ping(Node) end)), % connections live on
    _ = np_node:epmd(list_to_integer(Port)),
    {Ms, R} = np_test:ms(fun() -> np_test:eventually(fun() -> lists:keymember(Alive, 1, np_node:epmd_names(Port)) end,
                                                     3500) end),
    ?assertEqual(ok, R),
    ?assertEqual(Before, Creation()),
    B2 = np_node:beam(#{epmd => Port}),
    ?assertEqual(pong, np_node:on(B2, fun() -> net_adm:ping(Node) end)),
    {note, io_lib:format("registered again after ~b ms", [round(Ms)])}.

%% No epmd at start: the node waits for it (nothing else starts one) and then is ready.
epmd_starts_late() ->
    Port = np_node:free_port(),
    N = #{node := Node} = np_node:native(#{epmd => integer_to_list(Port), wait => false}),
    timer:sleep(1500),
    ?assert(np_node:alive(N)),
    _ = np_node:epmd(Port),
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    np_test:eventually(fun() -> lists:keymember(Alive, 1, np_node:epmd_names(integer_to_list(Port))) end, 3500).

%% The name is already somebody's: a clear end, not a second node of the name.
name_taken_at_epmd() ->
    Name = np_node:unique("taken"),
    L = np_raw:listen(Name ++ "@127.0.0.1"),
    N = np_node:native(#{name => Name, wait => false}),
    ?assertMatch({exited, Status} when Status > 0, np_node:wait_exit(N, 8000)),
    np_node:logged(N, 0, [Name]),
    np_raw:unlisten(L).

%% epmd drops who writes on the socket; here somebody else drops the entry: the node's answer is the same as to a
%% restart.
stray_byte_on_the_epmd_socket() ->
    Epmd = #{port := Port} = np_node:epmd(),
    #{node := Node} = np_node:native(#{epmd => Port}),
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    [begin
         np_node:stop_epmd(E),
         _ = np_node:epmd(list_to_integer(Port)),
         np_test:eventually(fun() -> lists:keymember(Alive, 1, np_node:epmd_names(Port)) end, 3500)
     end || E <- [Epmd]].

%% kill -9 and a new start under the same name: a new creation, old pids are dead, the BEAM is called within 2 s.
native_killed_and_restarted() ->
    B = np_node:beam(#{}),
    N = #{node := Node} = np_node:native(#{connect => [maps:get(node, B)]}),
    eventually_connected(B, Node, 3000),
    Old = np_node:on(B, fun() -> np_node:worker(Node, ?COUNTER) end),
    Named = np_node:on(B, fun() -> erpc:call(Node, erlang, whereis, [?COUNTER_SERVER]) end),
    Self = self(),
    spawn_link(fun() -> Self ! {down, np_node:on(B, fun() ->
        process_flag(trap_exit, true),
        R = monitor(process, Old),
        link(Old),
        [receive {'DOWN', R, _, _, Why} -> {down, Why}; {'EXIT', Old, Why} -> {exit, Why} after 5000 -> none end
            || _ <- [1, 2]]
    end)} end),
    timer:sleep(200),
    np_node:kill(N, "KILL"),
    ?assertEqual([{down, noconnection}, {exit, noconnection}], receive {down, D} -> lists:sort(D) after 6000 ->
                 none end),
    ?assertMatch({exited, _}, np_node:wait_exit(N, 2000)),
    _ = np_node:restart(N),
    Ms = eventually_connected(B, Node, 2000),
    counts(B, Node),
    ?assertMatch({{exit, {noproc, _}}, {exit, {noproc, _}}, {down, noproc}, {exit, noproc}}, np_node:on(B, fun() ->
        process_flag(trap_exit, true),
        New = erpc:call(Node, erlang, whereis, [?COUNTER_SERVER]),
        true = New =/= Named,
        Calls = [np_test:quietly(fun() -> gen_server:call(P, get, 3000) end) || P <- [Old, Named]],
        Old ! hello,
        R = monitor(process, Old),
        Down = receive {'DOWN', R, _, _, Why} -> {down, Why} after 1000 -> none end,
        link(Old),
        Exit = receive {'EXIT', Old, Why2} -> {exit, Why2} after 1000 -> none end,
        list_to_tuple(Calls ++ [Down, Exit])
    end)),
    {note, io_lib:format("connected ~b ms after its ready line", [Ms])}.

node_before_its_seed() ->
    Name = np_node:unique("late"),
    #{node := Node} = np_node:native(#{connect => [list_to_atom(Name ++ "@127.0.0.1")]}),
    timer:sleep(1500),
    B = np_node:beam(#{name => Name}),
    Ms = eventually_connected(B, Node, 2000),
    counts(B, Node),
    {note, io_lib:format("~b ms after its boot", [Ms])}.

simultaneous_native_lower() -> simultaneous(np_node:unique("a")).
simultaneous_native_higher() -> simultaneous(np_node:unique("z")).

%% Both dial all the time, and the connection is cut again and again: there is always one connection, and soon.
simultaneous(Name) ->
    B = np_node:beam(#{name => np_node:unique("m")}),
    #{node := Node} = np_node:native(#{name => Name, connect => [maps:get(node, B)]}),
    eventually_connected(B, Node, 3000),
    Times = np_node:on(B, fun() ->
        P = np_node:worker(Node, ?COUNTER),
        [begin
             erlang:disconnect_node(Node),
             %% The native node begins to dial after some 100 ms: dial just then.
             timer:sleep(N rem 10 * 20),
             {Ms, ok} = np_test:ms(fun() -> np_test:eventually(fun() -> net_kernel:connect_node(Node) end, 5000) end),
             N = gen_server:call(P, increment, 3000),
             Ms
         end || N <- lists:seq(1, 60)]
    end, 50000),
    Worst = lists:max(Times),
    ?assert(Worst < 2000, Worst),
    %% And it holds.
    ?assertEqual([], np_node:on(B, fun() -> net_kernel:monitor_nodes(true, [{node_type, all}]),
                                np_test:collect(2500) end)),
    {note, io_lib:format("60 times; slowest ~b ms", [round(Worst)])}.

%% Several BEAMs at once, connected by their first call.
simultaneous_by_calls() ->
    Names = [np_node:unique(P) || P <- ["b", "y"]],
    N = #{node := Node} = np_node:native(#{name => np_node:unique("n"),
                                           connect => [list_to_atom(X ++ "@127.0.0.1") || X <- Names]}),
    Beams = [np_node:beam(#{name => X}) || X <- Names],
    [counts(B, Node) || B <- Beams],
    [begin
         [np_node:on(B, fun() -> erlang:disconnect_node(Node), pong = net_adm:ping(Node) end) || B <- Beams],
         [counts(B, Node) || B <- Beams]
     end || _ <- lists:seq(1, 20)],
    ?assert(np_node:alive(N)).

sigterm_ends_with_zero() ->
    B = np_node:beam(#{}),
    N = #{node := Node} = np_node:native(#{}),
    counts(B, Node),
    np_node:kill(N, "TERM"),
    {Ms, R} = np_test:ms(fun() -> np_node:wait_exit(N, 10000) end),
    ?assertEqual({exited, 0}, R),
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    ?assertNot(lists:keymember(Alive, 1, np_node:epmd_names(os:getenv("ERL_EPMD_PORT")))),
    ?assertNot(connected(B, Node)),
    {note, io_lib:format("after ~b ms", [round(Ms)])}.

%% A worker that owes a reply (kv's await) keeps the drain waiting; a second signal does not wait.
second_sigterm_ends_at_once() ->
    B = np_node:beam(#{}),
    N = #{node := Node} = np_node:native(#{}),
    np_node:on(B, fun() -> P = np_node:worker(Node, ?KV), spawn(fun() ->
        gen_server:call(P, {await, <<"k">>, 30000}, 40000) end), timer:sleep(100) end),
    np_node:kill(N, "TERM"),
    np_node:kill(N, "TERM"),
    {Ms, R} = np_test:ms(fun() -> np_node:wait_exit(N, 5000) end),
    ?assertMatch({exited, _}, R),
    ?assert(Ms < 1500, Ms),
    {note, io_lib:format("~p after ~b ms", [R, round(Ms)])}.

%% Who watches a worker hears of the orderly end.
sigterm_tells_the_watchers() ->
    B = np_node:beam(#{}),
    N = #{node := Node} = np_node:native(#{}),
    Self = self(),
    spawn_link(fun() -> Self ! {down, np_node:on(B, fun() ->
        P = np_node:worker(Node, ?COUNTER),
        R = monitor(process, P),
        receive {'DOWN', R, _, _, Why} -> Why after 10000 -> none end
    end)} end),
    timer:sleep(500),
    np_node:kill(N, "TERM"),
    Why = receive {down, D} -> D after 12000 -> none end,
    ?assert(lists:member(Why, [shutdown, noconnection]), Why),
    {note, io_lib:format("DOWN with ~p", [Why])}.

sigint_is_like_sigterm() ->
    N = np_node:native(#{}),
    np_node:kill(N, "INT"),
    ?assertMatch({exited, S} when S =:= 0; S =:= 130, np_node:wait_exit(N, 10000)).

%% Connections cut in the middle of large messages leave nothing behind and hurt nobody.
connection_reset_mid_message() ->
    N = #{node := Node} = np_node:native(#{}),
    B = np_node:beam(#{}),
    Big = binary:copy(<<1>>, 20000000),
    [ok = np_node:on(B, fun() -> %% a few at a time: each call of on/2 has its own limit
        [begin
             P = np_node:worker(Node, ?ECHO),
             spawn(fun() -> catch gen_server:call(P, Big, 5000) end),
             timer:sleep(I * 3),
             erlang:disconnect_node(Node)
         end || I <- lists:seq(From, From + 4)],
        ok
     end) || From <- [1, 6, 11, 16]],
    counts(B, Node),
    ?assert(np_node:alive(N)).

disconnect_storm() ->
    N = #{node := Node} = np_node:native(#{}),
    B = np_node:beam(#{}),
    np_node:on(B, fun() ->
        [begin pong = net_adm:ping(Node), erlang:disconnect_node(Node) end || _ <- lists:seq(1, 300)]
    end),
    counts(B, Node),
    ?assert(np_node:alive(N)).
