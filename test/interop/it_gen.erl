%% gen: calls, casts, messages, late replies, multi_call, stop, names; process aliases.
-module(it_gen).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [call_by_pid, call_by_name, cast_is_in_order_with_calls, info_is_taken, call_to_missing_name_is_noproc_at_once,
     call_to_dead_pid_is_noproc_at_once, send_to_missing_name_is_dropped, send_request_and_wait,
     many_requests_in_flight,
     late_reply_never_arrives, late_reply_of_multi_call_never_arrives, multi_call_good_and_bad,
     plain_reference_tag, tag_of_any_shape, alias_with_reply_option, inactive_alias_gets_nothing,
     stop_normal, stop_with_reason, stop_of_missing, stop_by_name_of_a_dead, old_pid_number_is_not_reused,
     unhandled_call_answers_so, one_caller_many_workers, {call_storm_of_fifty_processes, #{timeout => 30000}}].

counter() -> np_node:worker(?COUNTER).
echo() -> np_node:worker(?ECHO).
main() -> np_node:main().

call_by_pid() ->
    P = counter(),
    ?assertEqual(0, gen_server:call(P, get)),
    ?assertEqual(1, gen_server:call(P, increment)),
    ?assertEqual(42, gen_server:call(P, {add, 41})),
    ?assertEqual(2, gen_server:call(P, {add, -40})),
    ?assertEqual(main(), node(P)).

call_by_name() ->
    Id = np_node:unique("named"),
    {ok, P} = gen_server:call({?COUNTER_SERVER, main()}, {start_worker, Id, []}),
    ?assertEqual({ok, P}, gen_server:call({?COUNTER_SERVER, main()}, {whereis, Id})),
    ?assertEqual(1, gen_server:call(P, increment)),
    ?assertMatch([_ | _], gen_server:call({?COUNTER, main()}, which_children)),
    ?assertEqual({error, not_registered}, gen_server:call({?COUNTER_SERVER, main()}, {whereis, no_such_id})).

cast_is_in_order_with_calls() ->
    P = counter(),
    [begin gen_server:cast(P, increment), gen_server:cast(P, {add, 2}) end || _ <- lists:seq(1, 500)],
    ?assertEqual(1500, gen_server:call(P, get)),
    E = echo(),
    [gen_server:cast(E, {x, N}) || N <- lists:seq(1, 1000)],
    ?assertEqual(1000, gen_server:call(E, sunk)),
    ?assertEqual(0, gen_server:call(E, sunk)).

info_is_taken() ->
    P = counter(),
    P ! hello,
    P ! {some, "thing", <<1, 2>>},
    P ! {'$gen_cast'},
    P ! {make_ref(), late},
    ?assertEqual(0, gen_server:call(P, get)).

prompt_noproc(To, Expected) ->
    {Ms, Result} = np_test:ms(fun() -> gen_server:call(To, x, 5000) end),
    ?assertMatch({exit, {Expected, {gen_server, call, _}}}, Result),
    ?assert(Ms < 1000),
    Ms.

call_to_missing_name_is_noproc_at_once() ->
    Ms = lists:min([prompt_noproc({nosuch, main()}, noproc) || _ <- lists:seq(1, 20)]),
    {note, io_lib:format("~.2f ms", [Ms])}.

call_to_dead_pid_is_noproc_at_once() ->
    P = counter(),
    exit(P, kill),
    np_test:eventually(fun() -> not is_alive(P) end),
    Ms = lists:min([prompt_noproc(P, noproc) || _ <- lists:seq(1, 20)]),
    {note, io_lib:format("~.2f ms", [Ms])}.

is_alive(P) ->
    Ref = monitor(process, P),
    receive {'DOWN', Ref, _, _, _} -> false after 50 -> demonitor(Ref, [flush]), true end.

send_to_missing_name_is_dropped() ->
    {nosuch, main()} ! hello,
    gen_server:cast({nosuch, main()}, hello),
    ?assertEqual(pong, net_adm:ping(main())),
    ?assertEqual([], np_test:collect(50)).

send_request_and_wait() ->
    P = counter(),
    R1 = gen_server:send_request(P, increment),
    R2 = gen_server:send_request(P, increment),
    ?assertEqual({reply, 2}, gen_server:wait_response(R2, 1000)),
    ?assertEqual({reply, 1}, gen_server:receive_response(R1, 1000)),
    R3 = gen_server:send_request({nosuch, main()}, x),
    ?assertMatch({error, {noproc, {nosuch, _}}}, gen_server:receive_response(R3, 1000)),
    ?assertEqual([], np_test:collect(50)).

many_requests_in_flight() ->
    E = echo(),
    Requests = lists:foldl(fun(N, Acc) -> gen_server:send_request(E, {n, N}, N, Acc) end, gen_server:reqids_new(),
                           lists:seq(1, 2000)),
    Answers = drain(Requests, []),
    ?assertEqual([{N, {n, N}} || N <- lists:seq(1, 2000)], lists:sort(Answers)).

drain(Requests, Acc) ->
    case gen_server:receive_response(Requests, 5000, true) of
        {{reply, R}, Label, Rest} -> drain(Rest, [{Label, R} | Acc]);
        no_request -> Acc
    end.

%% A suspended worker answers long after the caller gave up.
late_reply_never_arrives() ->
    P = counter(),
    ok = sys:suspend(P),
    ?assertMatch({exit, {timeout, _}}, np_test:quietly(fun() -> gen_server:call(P, increment, 50) end)),
    ?assertMatch({exit, {timeout, _}}, np_test:quietly(fun() -> gen_server:call(P, increment, 1) end)),
    ok = sys:resume(P),
    ?assertEqual(2, gen_server:call(P, get)),
    ?assertEqual([], np_test:collect(200)).

late_reply_of_multi_call_never_arrives() ->
    Server = np_node:whereis(?ECHO_SERVER),
    ok = sys:suspend(Server),
    {Ms, R} = np_test:ms(fun() -> gen_server:multi_call([main()], ?ECHO_SERVER, {whereis, 1}, 100) end),
    ok = sys:resume(Server),
    ?assertEqual({[], [main()]}, R),
    ?assert(Ms < 1000),
    ?assertEqual([], np_test:collect(200)).

multi_call_good_and_bad() ->
    Node = main(),
    ?assertMatch({[{Node, {ok, _}}], []}, gen_server:multi_call([Node], ?ECHO_SERVER, {whereis, 1}, 500)),
    {Ms, R} = np_test:ms(fun() -> gen_server:multi_call([Node], nosuch, q, 5000) end),
    ?assertEqual({[], [Node]}, R),
    ?assert(Ms < 1000),
    ?assertMatch({[{Node, {ok, _}}], []}, gen_server:multi_call([Node], ?ECHO_SERVER, {whereis, 1})),
    ?assertEqual([], np_test:collect(50)).

plain_reference_tag() ->
    P = counter(),
    Ref = make_ref(),
    P ! {'$gen_call', {self(), Ref}, increment},
    ?assertEqual(1, receive {Ref, N} -> N after 1000 -> none end).

tag_of_any_shape() ->
    E = echo(),
    [begin
         E ! {'$gen_call', {self(), Tag}, {hi, Tag}},
         ?assertEqual({hi, Tag}, receive {Tag, R} -> R after 1000 -> {none, Tag} end)
     end || Tag <- [{make_ref(), node()}, atom, 17, <<"bin">>, "list", {a, [b | c], #{d => 1.5}}, [x | y],
                    [[not_alias | make_ref()] | x], []]],
    Alias = alias([reply]),
    E ! {'$gen_call', {self(), [[alias | Alias] | extra]}, hi},
    ?assertEqual(hi, receive {[[alias | Alias] | extra], R} -> R after 1000 -> none end).

alias_with_reply_option() ->
    E = echo(),
    Alias = alias([reply]),
    E ! {'$gen_call', {self(), [alias | Alias]}, one},
    ?assertEqual(one, receive {[alias | Alias], R1} -> R1 after 1000 -> none end),
    E ! {'$gen_call', {self(), [alias | Alias]}, two},
    ?assertEqual([], np_test:collect(100)).

inactive_alias_gets_nothing() ->
    E = echo(),
    Alias = alias(),
    unalias(Alias),
    E ! {'$gen_call', {self(), [alias | Alias]}, gone},
    ?assertEqual(still, gen_server:call(E, still)),
    ?assertEqual([], np_test:collect(100)).

stop_normal() ->
    P = counter(),
    Ref = monitor(process, P),
    ?assertEqual(ok, gen_server:stop(P)),
    ?assertEqual(normal, receive {'DOWN', Ref, _, _, R} -> R after 1000 -> none end),
    ?assertEqual([], np_test:collect(50)).

stop_with_reason() ->
    [begin
         P = counter(),
         Ref = monitor(process, P),
         ?assertEqual(ok, gen_server:stop(P, Reason, 1000)),
         ?assertEqual(Reason, receive {'DOWN', Ref, _, _, R} -> R after 1000 -> none end)
     end || Reason <- [shutdown, {shutdown, x}, some_reason, {complicated, ["reason", #{a => self()}]}]],
    ?assertEqual([], np_test:collect(50)).

stop_of_missing() ->
    {Ms, R} = np_test:ms(fun() -> gen_server:stop({nosuch, main()}, normal, 5000) end),
    ?assertEqual({exit, noproc}, R),
    ?assert(Ms < 1000).

stop_by_name_of_a_dead() ->
    P = counter(),
    gen_server:stop(P),
    ?assertEqual({exit, noproc}, np_test:quietly(fun() -> gen_server:stop(P, normal, 1000) end)).

old_pid_number_is_not_reused() ->
    Pids = [begin P = counter(), gen_server:stop(P), P end || _ <- lists:seq(1, 100)],
    ?assertEqual(100, length(lists:usort(Pids))),
    [?assertMatch({exit, {noproc, _}}, np_test:quietly(fun() -> gen_server:call(P, get) end))
        || P <- lists:sublist(Pids, 10)].

unhandled_call_answers_so() ->
    P = counter(),
    ?assertEqual({unhandled, {what, "is", this}}, gen_server:call(P, {what, "is", this})),
    ?assertEqual({unhandled, {add, x}}, gen_server:call(P, {add, x})).

one_caller_many_workers() ->
    Workers = [counter() || _ <- lists:seq(1, 200)],
    [?assertEqual(1, gen_server:call(W, increment)) || W <- Workers],
    ?assertEqual([2], lists:usort([gen_server:call(W, increment) || W <- Workers])),
    [gen_server:stop(W) || W <- Workers].

call_storm_of_fifty_processes() ->
    P = counter(),
    Callers = [spawn_monitor(fun() -> [gen_server:call(P, increment, 20000) || _ <- lists:seq(1, 200)] end)
               || _ <- lists:seq(1, 50)],
    [receive {'DOWN', Ref, _, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Ref} <- Callers],
    ?assertEqual(10000, gen_server:call(P, get)).
