%% Monitors, links and exit signals: true reasons, names echoed, races, group leaders.
-module(it_links).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [down_has_the_true_reason, down_by_name_echoes_the_name, monitor_of_missing_name, monitor_of_dead_pid,
     many_monitors_of_one, demonitor_is_final, kill_shows_as_killed, exit_normal_is_ignored, exit_with_reason_kills,
     exit_shutdown_kills, link_and_death_of_the_worker, link_dead_gives_noproc, worker_dies_with_its_linked_caller,
     normal_exit_of_a_linked_caller_is_harmless, unlink_protects, link_unlink_link_race, link_unlink_storm,
     double_link_is_one, link_to_resident_and_unlink, monitor_during_death_race, down_when_worker_crashes_in_a_call,
     monitor_then_noconnection, link_then_noconnection, group_leader_is_taken].

counter() -> np_node:worker(?COUNTER).
main() -> np_node:main().

down(Ref) -> receive {'DOWN', Ref, process, What, Reason} -> {What, Reason} after 2000 -> no_down end.

down_has_the_true_reason() ->
    [begin
         P = counter(),
         Ref = monitor(process, P),
         gen_server:stop(P, Reason, 1000),
         ?assertEqual({P, Reason}, down(Ref))
     end || Reason <- [normal, shutdown, {shutdown, [1, 2]}, {big, binary:copy(<<7>>, 100000)}]].

down_by_name_echoes_the_name() ->
    Sup = np_node:worker(?ECHO),
    %% A name of the shared node cannot be killed for this test: a pool of our own can.
    true = is_pid(Sup),
    N = np_node:native(#{}),
    B = np_node:beam(#{}),
    #{node := Node} = N,
    ?assertEqual({down, {?COUNTER_SERVER, Node}, killed}, np_node:on(B, fun() ->
        P = erpc:call(Node, erlang, whereis, [?COUNTER_SERVER]),
        Ref = monitor(process, {?COUNTER_SERVER, Node}),
        exit(P, kill),
        receive {'DOWN', Ref, process, What, R} -> {down, What, R} after 2000 -> none end
    end)).

monitor_of_missing_name() ->
    {Ms, Down} = np_test:ms(fun() -> down(monitor(process, {nosuch, main()})) end),
    ?assertEqual({{nosuch, main()}, noproc}, Down),
    ?assert(Ms < 1000).

monitor_of_dead_pid() ->
    P = counter(),
    gen_server:stop(P),
    {Ms, Down} = np_test:ms(fun() -> down(monitor(process, P)) end),
    ?assertEqual({P, noproc}, Down),
    ?assert(Ms < 1000).

many_monitors_of_one() ->
    P = counter(),
    Refs = [monitor(process, P) || _ <- lists:seq(1, 1000)],
    {Gone, Kept} = lists:split(400, Refs),
    [demonitor(R) || R <- Gone],
    exit(P, boom),
    [?assertEqual({P, boom}, down(R)) || R <- Kept],
    ?assertEqual([], np_test:collect(50)).

demonitor_is_final() ->
    P = counter(),
    Ref = monitor(process, P),
    demonitor(Ref, [flush]),
    gen_server:stop(P),
    ?assertEqual([], np_test:collect(100)).

kill_shows_as_killed() ->
    P = counter(),
    Ref = monitor(process, P),
    exit(P, kill),
    ?assertEqual({P, killed}, down(Ref)).

exit_normal_is_ignored() ->
    P = counter(),
    exit(P, normal),
    ?assertEqual(0, gen_server:call(P, get)).

exit_with_reason_kills() ->
    P = counter(),
    Ref = monitor(process, P),
    exit(P, {some, reason, "text"}),
    ?assertEqual({P, {some, reason, "text"}}, down(Ref)).

exit_shutdown_kills() ->
    P = counter(),
    Ref = monitor(process, P),
    exit(P, shutdown),
    ?assertEqual({P, shutdown}, down(Ref)).

link_and_death_of_the_worker() ->
    process_flag(trap_exit, true),
    [begin
         P = counter(),
         link(P),
         gen_server:stop(P, Reason, 1000),
         ?assertEqual(Reason, receive {'EXIT', P, R} -> R after 1000 -> none end)
     end || Reason <- [normal, shutdown, other]],
    P2 = counter(),
    link(P2),
    exit(P2, kill),
    ?assertEqual(killed, receive {'EXIT', P2, R2} -> R2 after 1000 -> none end).

link_dead_gives_noproc() ->
    P = counter(),
    gen_server:stop(P),
    process_flag(trap_exit, true),
    link(P),
    ?assertEqual(noproc, receive {'EXIT', P, R} -> R after 1000 -> none end).

worker_dies_with_its_linked_caller() ->
    P = counter(),
    Ref = monitor(process, P),
    spawn(fun() -> link(P), _ = gen_server:call(P, get), exit(my_reason) end),
    ?assertEqual({P, my_reason}, down(Ref)).

normal_exit_of_a_linked_caller_is_harmless() ->
    P = counter(),
    {_, Ref} = spawn_monitor(fun() -> link(P), _ = gen_server:call(P, get) end),
    receive {'DOWN', Ref, _, _, _} -> ok end,
    ?assertEqual(0, gen_server:call(P, get)).

unlink_protects() ->
    P = counter(),
    {_, Ref} = spawn_monitor(fun() -> link(P), unlink(P), exit(my_reason) end),
    receive {'DOWN', Ref, _, _, _} -> ok end,
    timer:sleep(50),
    ?assertEqual(0, gen_server:call(P, get)),
    process_flag(trap_exit, true),
    link(P),
    unlink(P),
    gen_server:stop(P, boom, 1000),
    ?assertEqual([], np_test:collect(100)).

link_unlink_link_race() ->
    [begin
         P = counter(),
         Ref = monitor(process, P),
         spawn(fun() -> link(P), unlink(P), link(P), exit(x) end),
         ?assertEqual({P, x}, down(Ref))
     end || _ <- lists:seq(1, 50)].

link_unlink_storm() ->
    process_flag(trap_exit, true),
    P = counter(),
    [begin link(P), unlink(P) end || _ <- lists:seq(1, 2000)],
    ?assertEqual(0, gen_server:call(P, get)),
    link(P),
    exit(P, boom),
    ?assertEqual([{'EXIT', P, boom}], np_test:collect(100)).

double_link_is_one() ->
    process_flag(trap_exit, true),
    P = counter(),
    link(P),
    link(P),
    exit(P, boom),
    ?assertEqual([{'EXIT', P, boom}], np_test:collect(100)).

link_to_resident_and_unlink() ->
    Sup = np_node:whereis(?COUNTER),
    link(Sup),
    unlink(Sup),
    ?assertMatch([_ | _], supervisor:which_children(Sup)).

monitor_during_death_race() ->
    [begin
         P = counter(),
         spawn(fun() -> exit(P, boom) end),
         {P, Reason} = down(monitor(process, P)),
         ?assert(Reason =:= boom orelse Reason =:= noproc)
     end || _ <- lists:seq(1, 50)].

%% The caller of a suspended worker sees the worker's end as its own call's end.
down_when_worker_crashes_in_a_call() ->
    P = counter(),
    ok = sys:suspend(P),
    Self = self(),
    spawn(fun() -> Self ! {result, np_test:quietly(fun() -> gen_server:call(P, get, 5000) end)} end),
    timer:sleep(50),
    exit(P, boom),
    ?assertMatch({exit, {boom, {gen_server, call, _}}}, receive {result, R} -> R after 1000 -> none end).

monitor_then_noconnection() ->
    #{node := Node} = np_node:native(#{}),
    B = np_node:beam(#{}),
    {Down, Again} = np_node:on(B, fun() ->
        P = np_node:worker(Node, ?COUNTER),
        R1 = monitor(process, P),
        R2 = monitor(process, {?COUNTER_SERVER, Node}),
        erlang:disconnect_node(Node),
        D = [receive {'DOWN', R, process, W, Why} -> {W, Why} after 2000 -> none end || R <- [R1, R2]],
        {[D =:= [{P, noconnection}, {{?COUNTER_SERVER, Node}, noconnection}] orelse D], gen_server:call(P, get)}
    end),
    ?assertEqual([true], Down),
    ?assertEqual(0, Again).

%% A link broken by a lost connection kills a worker (it does not trap exits), as in OTP.
link_then_noconnection() ->
    #{node := Node} = np_node:native(#{}),
    B = np_node:beam(#{}),
    {Exit, Worker} = np_node:on(B, fun() ->
        process_flag(trap_exit, true),
        P = np_node:worker(Node, ?COUNTER),
        link(P),
        0 = gen_server:call(P, get),
        erlang:disconnect_node(Node),
        E = receive {'EXIT', P, R} -> R after 2000 -> none end,
        timer:sleep(100),
        {E, np_test:quietly(fun() -> gen_server:call(P, get, 2000) end)}
    end),
    ?assertEqual(noconnection, Exit),
    ?assertMatch({exit, {noproc, _}}, Worker).

group_leader_is_taken() ->
    P = counter(),
    group_leader(self(), P),
    ?assertEqual(0, gen_server:call(P, get)),
    Gl = np_node:main(),
    ?assertEqual({ok, Gl}, {ok, node(P)}).
