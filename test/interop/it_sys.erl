%% sys: the whole table of requests, on a worker and on the node's own processes.
-module(it_sys).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [get_state, {replace_state_is_refused, #{native => true}}, get_status_has_the_shape_of_otp, get_status_of_residents,
     suspend_keeps_messages_in_order, suspended_status_is_shown, suspend_is_idempotent, statistics, statistics_off,
     trace_log_install_remove, change_code_only_when_suspended, {unknown_request, #{native => true}},
     {unknown_debug_request, #{native => true}}, terminate_while_suspended, by_name, system_message_with_plain_tag].

counter() -> np_node:worker(?COUNTER).
main() -> np_node:main().

system(P, Request) -> gen:call(P, system, Request, 1000).

get_state() ->
    P = counter(),
    gen_server:call(P, {add, 7}),
    State = sys:get_state(P),
    ?assertNotEqual(nomatch, string:find(io_lib:format("~w", [State]), "7")),
    _ = sys:get_state(np_node:whereis(?COUNTER_SERVER)).

replace_state_is_refused() ->
    P = counter(),
    ?assertEqual({ok, {error, notsup}}, system(P, {replace_state, fun(S) -> S end})),
    ?assertMatch({error, _}, np_test:quietly(fun() -> sys:replace_state(P, fun(S) -> S end) end)),
    ?assertEqual(0, gen_server:call(P, get)).

get_status_has_the_shape_of_otp() -> status_shape(counter(), running).

status_shape(P, Running) ->
    {status, Pid, {module, Module}, [PDict, Is, Parent, Debug, Misc]} = sys:get_status(P),
    ?assertEqual(P, Pid),
    ?assert(is_atom(Module)),
    ?assert(is_list(PDict)),
    ?assertEqual(Running, Is),
    ?assert(is_pid(Parent)),
    ?assert(is_list(Debug)),
    ?assertMatch([{header, _}, {data, _} | _], Misc),
    [{header, Header}, {data, Data} | Rest] = Misc,
    ?assert(io_lib:printable_unicode_list(lists:flatten(Header))),
    ?assertEqual({"Status", Running}, lists:keyfind("Status", 1, Data)),
    ?assertEqual({"Parent", Parent}, lists:keyfind("Parent", 1, Data)),
    ?assertMatch([{data, [{"State", _}]} | _], Rest).

get_status_of_residents() ->
    [begin
         P = np_node:whereis(Name),
         ?assert(is_pid(P)),
         ?assertMatch({status, P, {module, _}, [_, running, _, _, _]}, sys:get_status(P)),
         _ = sys:get_state({Name, main()})
     end || Name <- [?COUNTER, ?COUNTER_SERVER, ?COUNTER_SUP]].

suspend_keeps_messages_in_order() ->
    E = np_node:worker(?ECHO),
    ok = sys:suspend(E),
    Requests = [gen_server:send_request(E, {n, N}) || N <- lists:seq(1, 200)],
    [gen_server:cast(E, x) || _ <- lists:seq(1, 50)],
    Last = gen_server:send_request(E, sunk),
    ?assertEqual([], np_test:collect(100)),
    ok = sys:resume(E),
    %% Answers come in the order of the requests: each is already there when the one after it is.
    ?assertEqual({reply, 50}, gen_server:wait_response(Last, 2000)),
    ?assertEqual([{reply, {n, N}} || N <- lists:seq(1, 200)], [gen_server:wait_response(R, 0) || R <- Requests]).

suspended_status_is_shown() ->
    P = counter(),
    ok = sys:suspend(P),
    status_shape(P, suspended),
    _ = sys:get_state(P),
    ok = sys:resume(P),
    status_shape(P, running).

suspend_is_idempotent() ->
    P = counter(),
    ok = sys:suspend(P),
    ok = sys:suspend(P),
    ok = sys:resume(P),
    ok = sys:resume(P),
    ?assertEqual(0, gen_server:call(P, get)).

statistics() ->
    P = counter(),
    ?assertEqual({ok, no_statistics}, sys:statistics(P, get)),
    ?assertEqual(ok, sys:statistics(P, true)),
    [gen_server:call(P, increment) || _ <- lists:seq(1, 10)],
    {ok, Stats} = sys:statistics(P, get),
    ?assertEqual([start_time, current_time, reductions, messages_in, messages_out], [K || {K, _} <- Stats]),
    ?assertMatch({{_, _, _}, {_, _, _}}, proplists:get_value(start_time, Stats)),
    ?assertMatch({{_, _, _}, {_, _, _}}, proplists:get_value(current_time, Stats)),
    ?assert(is_integer(proplists:get_value(reductions, Stats))),
    ?assert(proplists:get_value(messages_in, Stats) >= 10).

statistics_off() ->
    P = counter(),
    ok = sys:statistics(P, true),
    ok = sys:statistics(P, false),
    ?assertEqual({ok, no_statistics}, sys:statistics(P, get)).

trace_log_install_remove() ->
    P = counter(),
    Standin = np_node:mode() =:= beam, % a real gen_server would print its trace
    Standin orelse ?assertEqual(ok, sys:trace(P, true)),
    ?assertEqual(ok, sys:trace(P, false)),
    ?assertEqual(ok, sys:log(P, true)),
    ?assertMatch({ok, _}, sys:log(P, get)),
    ?assertEqual(ok, sys:log(P, false)),
    ?assertEqual({ok, []}, sys:log(P, get)),
    ?assertEqual(ok, sys:no_debug(P)),
    ?assertEqual(ok, sys:install(P, {fun(S, _, _) -> S end, state})),
    ?assertEqual(ok, sys:remove(P, fun(S, _, _) -> S end)),
    ?assertEqual(0, gen_server:call(P, get)).

change_code_only_when_suspended() ->
    P = counter(),
    Module = np_node,
    ?assertMatch({ok, {error, {unknown_system_msg, {change_code, Module, undefined, []}}}},
                 system(P, {change_code, Module, undefined, []})),
    ok = sys:suspend(P),
    np_node:mode() =:= beam orelse ?assertEqual(ok, sys:change_code(P, Module, undefined, [])),
    ok = sys:resume(P),
    ?assertEqual(0, gen_server:call(P, get)).

unknown_request() ->
    P = counter(),
    ?assertEqual({ok, {error, {unknown_system_msg, {what, 1}}}}, system(P, {what, 1})),
    ?assertEqual({ok, {error, {unknown_system_msg, nonsense}}}, system(P, nonsense)).

unknown_debug_request() ->
    ?assertEqual({ok, unknown_debug}, system(counter(), {debug, {no, such, thing}})).

terminate_while_suspended() ->
    P = counter(),
    ok = sys:suspend(P),
    Ref = monitor(process, P),
    ?assertEqual(ok, sys:terminate(P, {shutdown, now})),
    ?assertEqual({shutdown, now}, receive {'DOWN', Ref, _, _, R} -> R after 1000 -> none end).

by_name() ->
    To = {?COUNTER_SERVER, main()},
    _ = sys:get_state(To),
    ?assertMatch({status, _, _, _}, sys:get_status(To)),
    ?assertMatch({exit, {noproc, _}}, np_test:quietly(fun() -> sys:get_state({nosuch, main()}, 1000) end)).

system_message_with_plain_tag() ->
    P = counter(),
    Ref = make_ref(),
    P ! {system, {self(), Ref}, suspend},
    ?assertEqual(ok, receive {Ref, R1} -> R1 after 1000 -> none end),
    P ! {system, {self(), Ref}, resume},
    ?assertEqual(ok, receive {Ref, R2} -> R2 after 1000 -> none end).
