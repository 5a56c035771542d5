%% Workers that do what they may at the worst moments (test/workers/nasty.c): end themselves, each other, and the
%% processes above them, from inside every callback. After each case the pool must still serve.
-module(it_nasty).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

-define(POOL, 'Elixir.Nasty').
-define(SERVER, 'Elixir.Nasty.Server').
-define(SUP, 'Elixir.Nasty.WorkerSupervisor').

cases() ->
    [{C, #{native => true, own_node => true, timeout => 60000}} || C <-
        [stops_itself_anywhere, kills_itself_anywhere, kills_others, kills_what_is_above, ends_the_tree_from_init,
         kills_the_server_that_starts_it, reason_built_in_terminate, inits_errors_are_told, sends_itself_in_a_loop,
         calls_of_all_kinds, calls_of_the_dead_are_forgotten, every_local_call_is_answered, many_deferred,
         exit_signal_before_next_message, reply_before_down, orderly_stop_of_the_tree, asked_by_rpc_meanwhile,
         answers_that_are_too_large, many_workers_end_at_once,
         ends_while_busy, parts_killed_while_suspended, callers_of_functions_die]].

%% ---- the node of a case ----

node_of() -> case get(nasty) of undefined -> start(); N -> maps:get(node, N) end.

start() -> start([]).

start(NodeLines) ->
    So = filename:join(filename:dirname(os:getenv("NP_PROGRAM")), "test/workers/nasty.so"),
    N = np_node:native(#{node => NodeLines,
                        pools => ["pools:\n  - name: Elixir.Nasty\n    worker: ", So, "\n    isolation: inline\n"
                                   "    segments: 2\n    start: [1]\n"]}),
    put(nasty, N),
    maps:get(node, N).

%% The orderly end, which a sanitizer looks at.
done() ->
    N = get(nasty),
    1 = length([ok || {ok, _} <- [gen_server:call({?SERVER, node_of()}, {start_worker, np_node:unique("end"), []})]]),
    np_node:kill(N, "TERM"),
    ?assertEqual({exited, 0}, np_node:wait_exit(N, 20000)).

id() -> erlang:unique_integer([positive]).

worker() -> worker([]).
worker(Ops) ->
    {ok, P} = gen_server:call({?SERVER, node_of()}, {start_worker, id(), [Ops]}),
    P.

do(P, Ops) -> gen_server:call(P, {do, Ops}).

down(P) ->
    Ref = monitor(process, P),
    fun() -> receive {'DOWN', Ref, _, _, Reason} -> Reason after 5000 -> timeout end end.

next() -> receive M -> M after 3000 -> timeout end.

%% ---- cases ----

stops_itself_anywhere() ->
    node_of(),
    [begin
         P = worker([{report, self()}]),
         D = down(P),
         Trigger(P),
         ?assertEqual({Name, Reason}, {Name, D()})
     end || {Name, Reason, Trigger} <-
        [{call, x, fun(P) -> catch do(P, [{stop, x}]) end},
         {cast, x, fun(P) -> gen_server:cast(P, {do, [{stop, x}]}) end},
         {info, x, fun(P) -> P ! {do, [{stop, x}]} end},
         {timer, x, fun(P) -> do(P, [{on, timer, [{stop, x}]}, {timer, 1, 7}]) end},
         {two_timers, x, fun(P) -> do(P, [{on, timer, [{stop, x}]}, {timer, 1, 7}, {timer, 1, 8}, {timer, 0, 9}]) end},
         {reply, x, fun(P) -> do(P, [{on, reply, [{stop, x}]}, {call, P, {do, []}, 1000, 7}]) end},
         {reply_noproc, x, fun(P) -> do(P, [{on, reply, [{stop, x}]}, {call_name, nobody, x, 1000, 7}]) end},
         {fails, {inval, handle_call}, fun(P) -> catch do(P, [{fail, -2}]) end},
         {fails_cast, {nomem, handle_cast}, fun(P) -> gen_server:cast(P, {do, [{fail, -1}]}) end},
         {suspended, x, fun(P) ->
             ok = sys:suspend(P),
             [P ! {do, [{stop, x}]} || _ <- lists:seq(1, 5)],
             do_later(P),
             ok = sys:resume(P)
         end}]],
    done().

do_later(P) -> gen_server:send_request(P, {do, []}).

kills_itself_anywhere() ->
    node_of(),
    Kill = [{exit, self, kill}, {send, self, after_death}, {timer, 1, 1}, {link, self()}, {monitor, self()},
            {call, self(), x, 0, 1}],
    [begin
         P = worker([]),
         D = down(P),
         catch Trigger(P),
         ?assertEqual({Name, Reason}, {Name, D()})
     end || {Name, Reason, Trigger} <-
        [{call, killed, fun(P) -> do(P, Kill) end},
         {cast, killed, fun(P) -> gen_server:cast(P, {do, Kill}) end},
         {info, killed, fun(P) -> P ! {do, Kill} end},
         {timer, killed, fun(P) -> do(P, [{on, timer, Kill}, {timer, 1, 7}, {timer, 1, 8}]) end},
         {reply, killed, fun(P) -> do(P, [{on, reply, Kill}, {call, P, {do, []}, 1000, 7}]) end},
         {fetch, killed, fun(P) -> do(P, [{on, fetch, Kill}]), sys:get_state(P, 200) end},
         {fetch_status, killed, fun(P) -> do(P, [{on, fetch, Kill}]), sys:get_status(P, 200) end},
         {terminate, killed, fun(P) -> do(P, [{on, terminate, Kill}]), gen_server:stop(P, orderly, 500) end},
         {terminate_stop, killed, fun(P) -> do(P, [{on, terminate, Kill}, {stop, x}]) end},
         {stop_and_kill, killed, fun(P) -> do(P, [{stop, x} | Kill]) end},
         {fail_and_kill, killed, fun(P) -> do(P, [{fail, -2} | Kill]) end},
         {not_trapped, why, fun(P) -> do(P, [{exit, self, why}]) end},
         {suspended, killed, fun(P) -> sys:suspend(P), P ! {do, Kill}, P ! {do, Kill}, sys:resume(P) end}]],
    Me = self(),
    P = worker([]),
    monitor(process, P),
    catch do(P, [{send, Me, before}, {exit, self, kill}, {send, Me, later}, {exit, Me, kill}, {call, Me, x, 0, 1}]),
    ?assertMatch([before, {'DOWN', _, process, P, killed}], [next(), next()]),
    ?assertEqual([], np_test:collect(50)),
    ?assertMatch({error, _}, gen_server:call({?SERVER, node_of()}, {start_worker, id(), [Kill]})),
    ?assertMatch({error, _}, gen_server:call({?SERVER, node_of()}, {start_worker, id(), [[{fail, -1} | Kill]]})),
    done().

%% Killed from a callback of another: in a callback's middle, in terminate, linked to each other in a ring.
kills_others() ->
    node_of(),
    Ps = [worker([]) || _ <- lists:seq(1, 50)],
    [do(A, [{link, B}, {timer, 100000, 1}]) || {A, B} <- lists:zip(Ps, tl(Ps) ++ [hd(Ps)])],
    Ds = [down(P) || P <- Ps],
    Killer = worker([]),
    ok = do(Killer, [{exit, hd(Ps), boom}, {exit, lists:nth(20, Ps), kill}, {send, hd(Ps), x}]),
    [?assertEqual(boom, D()) || D <- Ds],
    Qs = [worker([]) || _ <- lists:seq(1, 50)],
    [do(A, [{on, terminate, [{exit, B, kill}]}]) || {A, B} <- lists:zip(Qs, tl(Qs) ++ [hd(Qs)])],
    Es = [down(Q) || Q <- Qs],
    gen_server:stop(hd(Qs), enough, 1000),
    ?assertEqual(enough, (hd(Es))()),
    ?assertEqual(killed, (hd(tl(Es)))()),
    ok = do(lists:last(Qs), []),
    %% at the node's end each one that is stopped kills another
    done().

kills_what_is_above() ->
    N = node_of(),
    [begin
         P = worker([]),
         D = down(P),
         [{undefined, Segment, _, _} | _] = gen_server:call({?SUP, N}, which_children),
         Above = case Name of segment -> Segment; _ -> erpc:call(N, erlang, whereis, [Name]) end,
         DA = down(Above),
         catch do(P, Where([{exit, Above, kill}])),
         ?assertEqual({Name, killed}, {Name, DA()}),
         catch gen_server:call(P, x, 200),
         _ = D(),
         np_test:eventually(fun() -> length(gen_server:call({?SUP, N}, which_children)) =:= 2 end),
         ?assertMatch({ok, _}, gen_server:call({?SERVER, N}, {start_worker, id(), []}))
     end || Name <- [?POOL, ?SUP, segment],
            Where <- [fun(Ops) -> Ops end, fun(Ops) -> [{on, terminate, Ops}, {stop, x}] end]],
    [begin
         P = worker([]),
         Above = erpc:call(N, erlang, whereis, [Name]),
         DA = down(Above),
         catch do(P, [{exit, Above, kill}]),
         ?assertEqual({Name, killed}, {Name, DA()}),
         np_test:eventually(fun() -> is_pid(erpc:call(N, erlang, whereis, [Name])) end),
         ok = do(P, [])
     end || Name <- [?SERVER, net_kernel, rex, native_pool]],
    pong = net_adm:ping(N),
    done().

ends_the_tree_from_init() ->
    N = node_of(),
    [begin
         Above = erpc:call(N, erlang, whereis, [Name]),
         catch gen_server:call({?SERVER, N}, {start_worker, id(), [[{exit, Above, kill}]]}, 500),
         np_test:eventually(fun() ->
             P = erpc:call(N, erlang, whereis, [Name]),
             is_pid(P) andalso P =/= Above
         end)
     end || Name <- [?POOL, ?SUP, ?SERVER]],
    done().

kills_the_server_that_starts_it() ->
    N = node_of(),
    [begin
         Pid = erpc:call(N, erlang, whereis, [Name]),
         Request = case Name of
             ?SERVER -> {start_worker, id(), [[{exit, Pid, kill}]]};
             ?SUP ->
                 Ref = {ref, 'Elixir.Nasty.Worker', id()},
                 {start_child, {{m, f, [Ref, [[{exit, Pid, kill}]]]}, temporary, 5000, worker, [m]}}
         end,
         ?assertExit({killed, _}, gen_server:call(Pid, Request, 1000)),
         ok = np_test:eventually(fun() -> is_pid(erpc:call(N, erlang, whereis, [Name])) end)
     end || Name <- [?SERVER, ?SUP, ?SERVER]],
    P = worker([]),
    Sup = erpc:call(N, erlang, whereis, [?SUP]),
    do(P, [{on, terminate, [{exit, Sup, kill}]}]),
    ?assertExit({killed, _}, gen_server:call(Sup, {terminate_child, P}, 1000)),
    done().

%% The reason is read after terminate has run: what that builds must not change it.
reason_built_in_terminate() ->
    node_of(),
    Big = binary:copy(<<"x">>, 300000),
    P = worker([{on, terminate, [{reason, Big}, {reason, {other, Big}}]}]),
    D = down(P),
    Why = {why, lists:seq(1, 1000)},
    catch do(P, [{stop, Why}]),
    ?assertEqual(Why, D()),
    Q = worker([{reason, in_init}, {on, terminate, [{reason, Big}]}]),
    E = down(Q),
    catch do(Q, [{fail, -2}]),
    ?assertEqual({inval, handle_call}, E()),
    done().

%% Of init every error code is {error, {Error, init}}; the pool's own refusals look different.
inits_errors_are_told() ->
    N = node_of(),
    [begin
         Answer = gen_server:call({?SERVER, N}, {start_worker, {id, Code}, [[{fail, Code}]]}),
         ?assertMatch({Code, {error, {_, init}}}, {Code, Answer}),
         ?assertEqual({error, not_registered}, gen_server:call({?SERVER, N}, {whereis, {id, Code}}))
     end || Code <- lists:seq(-19, -1)],
    ?assertEqual({error, {invalid_ref, {ref, other, 1}}},
                 gen_server:call({?SERVER, N}, {start_worker, {ref, other, 1}, []})),
    done().

%% A worker that never comes to rest must not keep others waiting, and does not pile up messages without end.
sends_itself_in_a_loop() ->
    node_of(),
    P = worker([]),
    ok = do(P, [{on, info, [{send_many, self, 2}]}, {send, self, go}]),
    Q = worker([]),
    timer:sleep(1000),
    {Us, _} = timer:tc(fun() -> [ok = do(Q, []) || _ <- lists:seq(1, 10)] end),
    T = worker([{report, self()}, {on, timer, [{timer, 0, 1}]}, {timer, 0, 1}]),
    timer:sleep(100),
    exit(T, kill),
    exit(P, kill),
    np_test:flush(),
    ok = do(Q, []),
    done(),
    {note, io_lib:format("~b us a call meanwhile", [Us div 10])}.

calls_of_all_kinds() ->
    N = node_of(),
    Dead = worker([]),
    exit(Dead, kill),
    P = worker([{report, self()}]),
    Try = fun(Op) -> ok = do(P, [Op]), next() end,
    ?assertEqual({reply, 1, ok, ok}, Try({call, self, {do, []}, 1000, 1})),
    ?assertEqual({reply, 2, noproc, noproc}, Try({call, Dead, x, 1000, 2})),
    ?assertEqual({reply, 3, noproc, noproc}, Try({call_name, nobody, x, 0, 3})),
    ?assertMatch({reply, 4, ok, {ok, _}}, Try({call_name, ?SERVER, {whereis, 1}, 0, 4})),
    ?assertMatch({'$gen_call', _, no_answer}, Try({call, self(), no_answer, 50, 5})),
    ?assertEqual({reply, 5, timeout, []}, next()),
    Victim = spawn(fun() -> receive _ -> exit(gone) end end),
    ?assertEqual({reply, 6, closed, gone}, Try({call, Victim, x, 0, 6})),
    ?assertEqual({reply, 7, ok, 6}, Try({erpc, node(), erlang, abs, [-6], 0, 7})),
    ?assertMatch({reply, 8, closed, _}, Try({erpc, node(), erlang, abs, [x], 0, 8})),
    ?assertMatch({failed, noconn, _}, Try({erpc, 'nobody@127.0.0.1', erlang, abs, [x], 0, 9})),
    ?assertMatch({failed, _, _}, Try({erpc, N, erlang, node, [], 0, 10})),
    Echo = self(),
    ok = do(P, [{call, Echo, hello, 0, 11}]),
    receive {'$gen_call', From, hello} -> gen_server:reply(From, hi), gen_server:reply(From, again) end,
    ?assertEqual({reply, 11, ok, hi}, next()),
    ?assertEqual(0, maps:get(calls_in_flight, erpc:call(N, native_pool, stats, []))),
    done().

%% What a worker has asked others without time-out is given up with it.
calls_of_the_dead_are_forgotten() ->
    N = node_of(),
    Calls = [{call, self(), x, 0, T} || T <- lists:seq(1, 1000)],
    Ends = [fun(P) -> catch do(P, Calls ++ [{stop, x}]) end, fun(P) -> catch do(P, Calls ++ [{exit, self, kill}]) end,
            fun(P) -> do(P, Calls), exit(P, kill) end, fun(P) -> do(P, Calls), gen_server:stop(P, x, 1000) end,
            fun(P) -> do(P, [{on, terminate, Calls}]), gen_server:stop(P, x, 1000) end,
            fun(_) -> gen_server:call({?SERVER, N}, {start_worker, id(), [Calls ++ [{fail, -2}]]}) end,
            fun(P) -> do(P, [{erpc, node(), timer, sleep, [20000], 0, 1}, {stop, x}]) end],
    [begin
         catch End(worker([])),
         np_test:eventually(fun() -> maps:get(calls_in_flight, erpc:call(N, native_pool, stats, [])) =:= 0 end)
     end || End <- Ends],
    np_test:flush(),
    done().

%% Also when the local queue is full at that moment.
every_local_call_is_answered() ->
    N = node_of(),
    Callee = worker([]),
    P = worker([{report, self()}]),
    Filler = worker([{on, info, []}]),
    ok = do(Callee, [{on, info, []}]),
    %% the filler fills the queue up from within the callee's call: its reply finds no room
    ok = do(P, [{call, Callee, {do, [{send_many, Filler, 2000000}]}, 0, 1}, {call, Callee, {do, []}, 0, 2}]),
    Got = lists:sort([next_reply(), next_reply()]),
    ?assertMatch([{reply, 1, ok, _}, {reply, 2, ok, _}], Got),
    np_test:eventually(fun() -> maps:get(calls_in_flight, erpc:call(N, native_pool, stats, [])) =:= 0 end),
    done().

next_reply() -> receive {reply, _, _, _} = R -> R after 20000 -> timeout end.

many_deferred() ->
    node_of(),
    P = worker([]),
    Reqs = [gen_server:send_request(P, {do, [defer, {reply, limit}]}) || _ <- lists:seq(1, 12000)],
    ok = do(P, [{trap, true}, answer]),
    Answers = [gen_server:receive_response(R, 10000) || R <- Reqs],
    ?assertEqual(10000, length([x || {reply, done} <- Answers])),
    ?assertEqual(2000, length([x || {reply, limit} <- Answers])),
    Again = gen_server:send_request(P, {do, [defer]}),
    catch do(P, [{on, terminate, [answer]}, {stop, x}]),
    ?assertEqual({reply, done}, gen_server:receive_response(Again, 3000)),
    done().

%% Signals between two processes keep their order: an exit that is trapped comes before what was sent after it.
exit_signal_before_next_message() ->
    node_of(),
    P = worker([{report, self()}, {trap, true}]),
    [begin
         exit(P, {n, I}),
         P ! {m, I}
     end || I <- lists:seq(1, 200)],
    Got = [begin {info, M} = next(), M end || _ <- lists:seq(1, 400)],
    Me = self(),
    ?assertEqual(lists:append([[{'EXIT', Me, {n, I}}, {m, I}] || I <- lists:seq(1, 200)]), Got),
    Q = worker([{report, self()}, {trap, true}]),
    ok = do(Q, [{link, P}]),
    gen_server:cast(P, {do, [{send, Q, first}, {stop, second}, {send, Q, then}]}),
    ?assertEqual([{info, first}, {info, then}, {info, {'EXIT', P, second}}], [next() || _ <- lists:seq(1, 3)]),
    done().

reply_before_down() ->
    node_of(),
    Big = binary:copy(<<"abcdefgh">>, 1000000),
    [begin
         P = worker([]),
         ?assertEqual(Big, gen_server:call(P, {do, [{reply, Big}, {stop, normal}]}))
     end || _ <- lists:seq(1, 5)],
    P = worker([]),
    Me = self(),
    monitor(process, P),
    gen_server:cast(P, {do, [{send, Me, {1, Big}}, {send, Me, 2}, {send, Me, {3, Big}}, {exit, self, 4}]}),
    ?assertMatch([{1, Big}, 2, {3, Big}, {'DOWN', _, process, P, 4}], [next() || _ <- lists:seq(1, 4)]),
    done().

%% Stopped, not killed: the workers below have their terminate, as under OTP's supervisor.
orderly_stop_of_the_tree() ->
    N = node_of(),
    [begin
         P = worker([{on, terminate, [{tell, self()}]}]),
         D = down(P),
         {Name, ok} = {Name, gen_server:stop({Name, N}, Reason, 5000)},
         ?assertEqual({Name, {told, P}}, {Name, next()}),
         ?assertEqual({Name, shutdown}, {Name, D()}),
         np_test:eventually(fun() -> is_pid(erpc:call(N, erlang, whereis, [Name])) end)
     end || Name <- [?POOL, ?SUP], Reason <- [shutdown, normal]],
    P = worker([]),
    ok = gen_server:stop({?SERVER, N}, normal, 5000),
    ok = do(P, []),
    done().

%% Calls of others that wait for an answer of ours, when the process that asks on their behalf is killed.
asked_by_rpc_meanwhile() ->
    N = node_of(),
    P = worker([]),
    ok = do(P, [{on, fetch, [{exit, self, kill}]}]),
    ?assertMatch({badrpc, _}, rpc:call(N, sys, get_state, [P], 3000)),
    Silent = spawn(fun() -> receive stop -> ok end end),
    Before = maps:get(processes, erpc:call(N, native_pool, stats, [])),
    Asks = [erpc:send_request(N, sys, get_state, [Silent]) || _ <- lists:seq(1, 10)],
    erpc:call(N, native_pool, stats, []),
    exit(erpc:call(N, erlang, whereis, [native_pool]), kill),
    Silent ! stop,
    [catch erpc:receive_response(A, 8000) || A <- Asks],
    np_test:eventually(fun() -> maps:get(processes, erpc:call(N, native_pool, stats, [])) =:= Before end, 9000),
    done().

%% A list of more workers than a message may hold is an error to the one who asks.
answers_that_are_too_large() ->
    N = start(["max_message_mb: 1"]),
    [gen_server:call({?SERVER, N}, {start_worker, id(), []}) || _ <- lists:seq(1, 35000)],
    [?assertEqual({error, limit}, gen_server:call(S, which_children))
        || {_, S, _, _} <- supervisor:which_children({?SUP, N})],
    ?assertError({exception, system_limit, _}, erpc:call(N, erlang, processes, [])),
    ?assertEqual(35001, maps:get(workers, sys:get_state({?SERVER, N}))),
    done().

%% Ending a pool takes time in proportion to its workers.
many_workers_end_at_once() ->
    N = node_of(),
    Count = 50000,
    Ids = [{many, I} || I <- lists:seq(1, Count)],
    [gen_server:call({?SERVER, N}, {start_worker, Id, []}) || Id <- Ids],
    {Us, ok} = timer:tc(fun() -> gen_server:stop({?POOL, N}, shutdown, 30000), gone(N, hd(Ids)) end),
    ?assert(Us < 5000000),
    done(),
    {note, io_lib:format("~b workers in ~b ms", [Count, Us div 1000])}.

gone(N, Id) ->
    {error, not_registered} = gen_server:call({?SERVER, N}, {whereis, Id}, 30000),
    ok.

%% SIGTERM amid everything: loops, waiting calls, deferred replies, and a terminate that begins it all anew.
ends_while_busy() ->
    N = node_of(),
    Looping = worker([]),
    ok = do(Looping, [{on, info, [{send_many, self, 2}]}, {send, self, go}]),
    Begin = [{send, self, x}, {timer, 0, 1}, {call, self(), x, 0, 1}, {call, self, {do, []}, 0, 2},
             {call_name, ?SERVER, {start_worker, {by, id()}, []}, 0, 3}, {call_name, ?SERVER, {whereis, 1}, 0, 5},
             {erpc, node(), timer, sleep, [60000], 0, 4}, {link, self}, {monitor, Looping}, answer],
    Ps = [worker([{on, terminate, Begin}, {on, timer, Begin}, {on, reply, Begin}]) || _ <- lists:seq(1, 20)],
    [do(P, Begin) || P <- Ps],
    Deferred = [gen_server:send_request(P, {do, [defer]}) || P <- Ps],
    sys:suspend(hd(Ps)),
    [erpc:send_request(N, sys, get_state, [spawn(timer, sleep, [60000])]) || _ <- Ps],
    Ds = [down(P) || P <- Ps],
    np_node:kill(get(nasty), "TERM"),
    [?assertEqual(shutdown, D()) || D <- Ds],
    [?assertEqual({reply, done}, gen_server:receive_response(R, 1000)) || R <- Deferred],
    ?assertEqual({exited, 0}, np_node:wait_exit(get(nasty), 20000)).

parts_killed_while_suspended() ->
    N = node_of(),
    [begin
         Part = erpc:call(N, erlang, whereis, [Name]),
         ok = sys:suspend(Part),
         [gen_server:cast(Part, x) || _ <- lists:seq(1, 1000)],
         Waiting = gen_server:send_request(Part, count_children),
         exit(Part, kill),
         ?assertEqual({Name, {error, {killed, Part}}}, {Name, gen_server:receive_response(Waiting, 2000)}),
         np_test:eventually(fun() -> sys:get_state({Name, N}) =/= none end),
         ok = sys:suspend({Name, N}),
         ok = gen_server:stop({Name, N}, normal, 2000),
         np_test:eventually(fun() -> sys:get_state({Name, N}) =/= none end)
     end || Name <- [?POOL, ?SUP, ?SERVER, net_kernel, rex, native_pool]],
    ?assertMatch([_, _], supervisor:which_children({?POOL, N})),
    pong = net_adm:ping(N),
    done().

%% The process that answers an erpc is killed, or its caller dies, before the answer is there.
callers_of_functions_die() ->
    N = node_of(),
    P = worker([]),
    Before = maps:get(processes, erpc:call(N, native_pool, stats, [])),
    Silent = spawn(fun() -> receive stop -> ok end end),
    Callers = [spawn(fun() -> erpc:call(N, sys, get_state, [Silent], 10000) end) || _ <- lists:seq(1, 20)],
    Linked = [spawn(fun() -> spawn_opt(N, sys, get_state, [Silent], [link]), timer:sleep(10000) end)
              || _ <- lists:seq(1, 20)],
    np_test:eventually(fun() -> maps:get(processes, erpc:call(N, native_pool, stats, [])) >= Before + 40 end),
    [exit(C, kill) || C <- Callers ++ Linked],
    Kind = fun(Pid) -> erpc:call(N, erlang, process_info, [Pid, initial_call]) end,
    [exit(Pid, kill) || Pid <- erpc:call(N, erlang, processes, []),
                        Kind(Pid) =:= {initial_call, {native_pool, rpc, 1}}],
    Silent ! stop,
    np_test:eventually(fun() -> maps:get(processes, erpc:call(N, native_pool, stats, [])) =:= Before end, 7000),
    ok = do(P, []),
    done().
