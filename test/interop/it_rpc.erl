%% ping, rpc, erpc, spawn; what the node shows of itself.
-module(it_rpc).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [ping, ping_many, erpc_node, erlang_memory, erlang_nodes, dispatch_table, {native_pool_stats, #{native => true}},
     undef_is_the_normal_undef, erpc_cast, {spawn_of_a_fun_is_refused, #{native => true}},
     {spawn_of_unknown_function, #{native => true}},
     spawn_request_with_link_and_monitor, {spawn_request_of_unknown_function, #{native => true}}, spawn_reply_flags,
     abandoned_call_leaves_nothing,
     {rex_block_call, #{native => true}}, rpc_server_call, rpc_cast, erpc_multicall, erpc_many_at_once,
     registered_names,
     send_request_erpc, is_process_alive_of_workers, processes_are_listed, code_is_loaded, unknown_names_in_badrpc].

main() -> np_node:main().

ping() -> ?assertEqual(pong, net_adm:ping(main())).

ping_many() ->
    Refs = [spawn_monitor(fun() -> exit({ping, net_adm:ping(main())}) end) || _ <- lists:seq(1, 100)],
    [receive {'DOWN', R, _, _, Why} -> ?assertEqual({ping, pong}, Why) end || {_, R} <- Refs].

erpc_node() ->
    ?assertEqual(main(), erpc:call(main(), erlang, node, [])),
    ?assertEqual(main(), rpc:call(main(), erlang, node, [])).

erlang_memory() ->
    Memory = erpc:call(main(), erlang, memory, []),
    Keys = [total, processes, processes_used, system, atom, atom_used, binary, code, ets],
    ?assertEqual(Keys, [K || {K, _} <- Memory]),
    [?assert(is_integer(V) andalso V >= 0) || {_, V} <- Memory],
    ?assert(proplists:get_value(total, Memory) > 0),
    ?assert(erpc:call(main(), erlang, memory, [total]) > 0).

erlang_nodes() ->
    ?assertEqual([], erpc:call(main(), erlang, nodes, [])), % it is hidden, so all its peers are
    ?assert(lists:member(node(), erpc:call(main(), erlang, nodes, [hidden]))),
    ?assert(lists:member(node(), erpc:call(main(), erlang, nodes, [connected]))),
    ?assert(lists:member(main(), erpc:call(main(), erlang, nodes, [this]))).

%% Each has OTP's type of answer.
dispatch_table() ->
    [begin
         R = np_test:quietly(fun() -> erpc:call(main(), M, F, A) end),
         ?assert(Is(R), {M, F, A, R})
     end || {M, F, A, Is} <- [
        {erlang, system_info, [process_count], fun is_integer/1},
        {erlang, system_info, [process_limit], fun is_integer/1},
        {erlang, system_info, [schedulers], fun is_integer/1},
        {erlang, statistics, [wall_clock], fun({A, B}) -> is_integer(A) andalso is_integer(B) end},
        {erlang, statistics, [run_queue], fun is_integer/1},
        {erlang, processes, [], fun(L) -> lists:all(fun is_pid/1, L) end},
        {erlang, registered, [], fun(L) -> lists:member(?COUNTER, L) andalso lists:member(net_kernel, L)
         andalso lists:member(rex, L) end},
        {erlang, whereis, [net_kernel], fun is_pid/1},
        {erlang, whereis, [nosuch], fun(X) -> X =:= undefined end}]],
    P = np_node:worker(?COUNTER),
    ?assertMatch([_ | _], erpc:call(main(), erlang, process_info, [P])),
    ?assertMatch({message_queue_len, 0}, erpc:call(main(), erlang, process_info, [P, message_queue_len])),
    ?assertMatch({status, _, _, _}, erpc:call(main(), sys, get_status, [P])),
    _ = erpc:call(main(), sys, get_state, [P]),
    _ = erpc:call(main(), proc_lib, translate_initial_call, [P]).

native_pool_stats() ->
    Stats = erpc:call(main(), native_pool, stats, []),
    ?assert(is_map(Stats) orelse is_list(Stats)),
    ?assertEqual(Stats =/= [] andalso Stats =/= #{}, true),
    ?assert(is_map(rpc:call(main(), native_pool, stats, [])) =:= is_map(Stats)).

undef_is_the_normal_undef() ->
    try erpc:call(main(), no, such, [1, x]) of
        R -> error({returned, R})
    catch
        error:{exception, undef, [{no, such, [1, x], []}]} -> ok
    end,
    ?assertMatch({badrpc, {'EXIT', {undef, [{no, such, [], []} | _]}}}, rpc:call(main(), no, such, [])),
    ?assertMatch({badrpc, {'EXIT', {undef, [{erlang, no_such_bif, [a], []} | _]}}},
                 rpc:call(main(), erlang, no_such_bif, [a])).

erpc_cast() ->
    ?assertEqual(ok, erpc:cast(main(), erlang, node, [])),
    ?assertEqual(ok, erpc:cast(main(), no, such, [])),
    ?assertEqual(true, rpc:cast(main(), erlang, node, [])),
    ?assertEqual([], np_test:collect(50)),
    ?assertEqual(pong, net_adm:ping(main())).

rpc_cast() -> ?assertEqual(true, rpc:cast(main(), no, such, [1])).

%% The node runs no Erlang code: a fun is refused with an error the caller sees.
spawn_of_a_fun_is_refused() ->
    ?assertMatch({error, notsup}, np_test:quietly(fun() -> spawn_monitor(main(), fun() -> ok end) end)),
    Req = spawn_request(main(), erlang, apply, [fun() -> ok end, []], [monitor]),
    ?assertEqual({spawn_reply, Req, error, notsup}, receive M -> M after 1000 -> none end),
    ?assertEqual([], np_test:collect(50)).

spawn_of_unknown_function() ->
    case np_test:quietly(fun() -> spawn_monitor(main(), no, such, [1]) end) of
        {P, Ref} when is_pid(P) -> receive {'DOWN', Ref, process, P, Why} ->
            ?assertMatch({undef, _}, Why) after 1000 -> error(no_down) end;
        {error, notsup} -> ok
    end,
    ?assertEqual(pong, net_adm:ping(main())).

spawn_request_with_link_and_monitor() ->
    process_flag(trap_exit, true),
    Req = spawn_request(main(), erlang, node, [], [link, monitor]),
    P = receive {spawn_reply, Req, ok, Pid} -> Pid after 1000 -> error(no_spawn_reply) end,
    ?assertEqual(main(), node(P)),
    ?assertEqual(normal, receive {'DOWN', Req, process, P, R1} -> R1 after 1000 -> no_down end),
    ?assertEqual(normal, receive {'EXIT', P, R2} -> R2 after 1000 -> no_exit end),
    ?assertEqual([], np_test:collect(50)).

spawn_request_of_unknown_function() ->
    process_flag(trap_exit, true),
    Req = spawn_request(main(), no, such, [], [link, monitor]),
    case receive {spawn_reply, Req, A, B} -> {A, B} after 1000 -> no_spawn_reply end of
        {error, notsup} -> ok;
        {ok, P} ->
            ?assertMatch({undef, _}, receive {'DOWN', Req, process, P, R1} -> R1 after 1000 -> no_down end),
            ?assertMatch({undef, _}, receive {'EXIT', P, R2} -> R2 after 1000 -> no_exit end)
    end,
    ?assertEqual([], np_test:collect(50)).

spawn_reply_flags() ->
    R1 = spawn_request(main(), erlang, node, [], [{reply_tag, mine}]),
    ?assertMatch({mine, R1, ok, _}, receive M1 -> M1 after 1000 -> none end),
    R2 = spawn_request(main(), erlang, node, [], [{reply, no}]),
    ?assert(is_reference(R2)),
    R3 = spawn_request(main(), erlang, node, [], [{monitor, [{tag, my_down}]}]),
    ?assertMatch({spawn_reply, R3, ok, _}, receive M2 -> M2 after 1000 -> none end),
    ?assertMatch({my_down, R3, process, _, normal}, receive M3 -> M3 after 1000 -> none end),
    ?assertEqual([], np_test:collect(50)).

%% Calls that gave up leave no process behind.
abandoned_call_leaves_nothing() ->
    Before = erpc:call(main(), erlang, system_info, [process_count]),
    [catch erpc:call(main(), erlang, memory, [], 0) || _ <- lists:seq(1, 200)],
    ?assertEqual(pong, net_adm:ping(main())),
    np_test:eventually(fun() -> erpc:call(main(), erlang, system_info, [process_count]) =< Before + 30 end),
    ?assertEqual([], np_test:collect(50)).

rex_block_call() ->
    ?assertEqual(main(), rpc:block_call(main(), erlang, node, [])),
    ?assertMatch({badrpc, {'EXIT', {undef, _}}}, rpc:block_call(main(), no, such, [])),
    ?assertEqual(main(), gen_server:call({rex, main()}, {call, erlang, node, [], group_leader()})),
    {rex, main()} ! {self(), {call, erlang, node, [], group_leader()}},
    ?assertEqual({rex, main()}, receive M -> M after 1000 -> none end).

rpc_server_call() ->
    %% A plain {Pid, Request} is no call to a worker: it must not disturb it.
    P = np_node:worker(?COUNTER),
    P ! {self(), get},
    ?assertEqual(0, gen_server:call(P, get)),
    {?COUNTER_SERVER, main()} ! {self(), {whereis, 1}},
    ?assertEqual([], np_test:collect(50)).

erpc_multicall() ->
    ?assertEqual([{ok, main()}], erpc:multicall([main()], erlang, node, [])),
    Nodes = nodes(connected),
    ?assert(lists:member(main(), Nodes)),
    ?assertEqual([{ok, N} || N <- Nodes], erpc:multicall(Nodes, erlang, node, [])),
    ?assertEqual({[main()], []}, rpc:multicall([main()], erlang, node, [])).

erpc_many_at_once() ->
    Ids = [erpc:send_request(main(), erlang, whereis, [?COUNTER]) || _ <- lists:seq(1, 1000)],
    ?assertEqual([np_node:whereis(?COUNTER)], lists:usort([erpc:receive_response(I, 5000) || I <- Ids])).

registered_names() ->
    Names = erpc:call(main(), erlang, registered, []),
    [?assert(lists:member(N, Names), N) ||
        N <- [?COUNTER, ?COUNTER_SERVER, ?COUNTER_SUP, ?ECHO, ?ECHO_SERVER, ?ECHO_SUP, ?KV, ?KV_SERVER, net_kernel,
              rex]],
    [begin
         {ok, P} = gen_server:call({?COUNTER_SERVER, main()}, {whereis, Id}),
         ?assert(is_integer(gen_server:call(P, get)))
     end || Id <- [1, 2, 3]].

send_request_erpc() ->
    Id = erpc:send_request(main(), erlang, node, []),
    ?assertEqual({response, main()}, erpc:wait_response(Id, 1000)).

is_process_alive_of_workers() ->
    P = np_node:worker(?COUNTER),
    ?assertEqual(true, erpc:call(main(), erlang, is_process_alive, [P])),
    gen_server:stop(P),
    ?assertEqual(false, erpc:call(main(), erlang, is_process_alive, [P])),
    ?assertEqual(undefined, erpc:call(main(), erlang, process_info, [P])).

processes_are_listed() ->
    P = np_node:worker(?COUNTER),
    ?assert(lists:member(P, erpc:call(main(), erlang, processes, []))).

code_is_loaded() ->
    ?assertEqual(false, erpc:call(main(), code, is_loaded, [no_such_module])).

unknown_names_in_badrpc() ->
    ?assertMatch({badrpc, _}, rpc:call(main(), observer_backend_no, sys_info, [], 2000)),
    ?assertEqual(pong, net_adm:ping(main())).
