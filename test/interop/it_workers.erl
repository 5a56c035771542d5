%% The example workers and the pool server.
-module(it_workers).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [configured_ids_are_there, counter, {counter_has_64_bits, #{native => true}}, echo_counts_casts,
     kv_put_get_delete_size, kv_ttl,
     kv_await_of_present, kv_await_is_deferred, kv_await_times_out, kv_many_awaits,
     {kv_too_many_waits, #{native => true}}, kv_binary_values, kv_unhandled,
     server_start_worker, server_ids_of_any_kind, server_unknown_call, workers_are_independent].

main() -> np_node:main().
kv() -> np_node:worker(?KV).

configured_ids_are_there() ->
    Pids = [begin {ok, P} = gen_server:call({S, main()}, {whereis, Id}), P end
            || {S, Id} <- [{?COUNTER_SERVER, 1}, {?COUNTER_SERVER, 2}, {?COUNTER_SERVER, 3}, {?ECHO_SERVER, 1},
                           {?ECHO_SERVER, 2}, {?KV_SERVER, 1}]],
    ?assertEqual(6, length(lists:usort(Pids))).

counter() ->
    P = np_node:worker(?COUNTER),
    ?assertEqual(1, gen_server:call(P, increment)),
    ?assertEqual(11, gen_server:call(P, {add, 10})),
    gen_server:cast(P, increment),
    gen_server:cast(P, {add, -2}),
    ?assertEqual(10, gen_server:call(P, get)),
    gen_server:cast(P, nonsense),
    gen_server:cast(P, {add, not_a_number}),
    ?assertEqual(10, gen_server:call(P, get)),
    ?assertEqual({unhandled, nonsense}, gen_server:call(P, nonsense)).

%% The counter holds 64 bits and wraps; what does not fit is no number to it.
counter_has_64_bits() ->
    P = np_node:worker(?COUNTER),
    Max = (1 bsl 63) - 1,
    ?assertEqual(Max, gen_server:call(P, {add, Max})),
    ?assertEqual(-Max - 1, gen_server:call(P, increment)),
    ?assertEqual({unhandled, {add, 1 bsl 63}}, gen_server:call(P, {add, 1 bsl 63})),
    ?assertEqual({unhandled, {add, 1 bsl 70}}, gen_server:call(P, {add, 1 bsl 70})).

echo_counts_casts() ->
    P = np_node:worker(?ECHO),
    ?assertEqual(0, gen_server:call(P, sunk)),
    [gen_server:cast(P, {n, N}) || N <- lists:seq(1, 10)],
    ?assertEqual({hello, <<"world">>}, gen_server:call(P, {hello, <<"world">>})),
    ?assertEqual(10, gen_server:call(P, sunk)),
    ?assertEqual(0, gen_server:call(P, sunk)),
    ?assertEqual("sunk", gen_server:call(P, "sunk")),
    ?assertEqual({sunk}, gen_server:call(P, {sunk})).

%% Replies of kv: put and delete say ok; get says {ok, V} or {error, not_found}; await likewise or {error, timeout}.
kv_put_get_delete_size() ->
    P = kv(),
    ?assertEqual(0, gen_server:call(P, size)),
    ?assertEqual(ok, gen_server:call(P, {put, <<"a">>, <<"1">>})),
    ?assertEqual(ok, gen_server:call(P, {put, <<"b">>, <<"2">>})),
    ?assertEqual({ok, <<"1">>}, gen_server:call(P, {get, <<"a">>})),
    ?assertEqual(ok, gen_server:call(P, {put, <<"a">>, <<"one">>})),
    ?assertEqual({ok, <<"one">>}, gen_server:call(P, {get, <<"a">>})),
    ?assertEqual(2, gen_server:call(P, size)),
    ?assertEqual(ok, gen_server:call(P, {delete, <<"a">>})),
    ?assertEqual({error, not_found}, gen_server:call(P, {get, <<"a">>})),
    ?assertEqual(1, gen_server:call(P, size)).

kv_ttl() ->
    P = kv(),
    ?assertEqual(ok, gen_server:call(P, {put, <<"k">>, <<"v">>, 150})),
    ?assertEqual(ok, gen_server:call(P, {put, <<"stays">>, <<"v">>})),
    ?assertEqual({ok, <<"v">>}, gen_server:call(P, {get, <<"k">>})),
    timer:sleep(300),
    ?assertEqual({error, not_found}, gen_server:call(P, {get, <<"k">>})),
    ?assertEqual({ok, <<"v">>}, gen_server:call(P, {get, <<"stays">>})),
    ?assertEqual(1, gen_server:call(P, size)).

kv_await_of_present() ->
    P = kv(),
    ok = gen_server:call(P, {put, <<"k">>, <<"v">>}),
    ?assertEqual({ok, <<"v">>}, gen_server:call(P, {await, <<"k">>, 1000})).

kv_await_is_deferred() ->
    P = kv(),
    R = gen_server:send_request(P, {await, <<"k">>, 2000}),
    ?assertEqual(timeout, gen_server:wait_response(R, 100)),
    ?assertEqual(0, gen_server:call(P, size)), % it serves others meanwhile
    ok = gen_server:call(P, {put, <<"k">>, <<"v">>}),
    ?assertEqual({reply, {ok, <<"v">>}}, gen_server:wait_response(R, 1000)).

kv_await_times_out() ->
    P = kv(),
    {Ms, R} = np_test:ms(fun() -> gen_server:call(P, {await, <<"k">>, 150}, 2000) end),
    ?assertEqual({error, timeout}, R),
    ?assert(Ms >= 140 andalso Ms < 1000),
    ok = gen_server:call(P, {put, <<"k">>, <<"v">>}),
    ?assertEqual([], np_test:collect(50)).

kv_many_awaits() ->
    P = kv(),
    Rs = [gen_server:send_request(P, {await, <<"k", (N rem 2)>>, 5000}) || N <- lists:seq(1, 100)],
    ok = gen_server:call(P, {put, <<"k", 0>>, <<"even">>}),
    ok = gen_server:call(P, {put, <<"k", 1>>, <<"odd">>}),
    ?assertEqual([{reply, {ok, case N rem 2 of 0 -> <<"even">>; 1 -> <<"odd">> end}} || N <- lists:seq(1, 100)],
                 [gen_server:wait_response(R, 1000) || R <- Rs]).

%% More timers than a worker may have: the one too many is told so, and nothing is lost.
kv_too_many_waits() ->
    P = kv(),
    Reqs = [gen_server:send_request(P, {put, <<N:32>>, <<"v">>, 60000}) || N <- lists:seq(1, 10001)],
    Answers = [element(2, gen_server:receive_response(R, 10000)) || R <- Reqs],
    ?assertEqual(10000, length([ok || ok <- Answers])),
    ?assertEqual({error, overloaded}, lists:last(Answers)),
    ?assertEqual({error, overloaded}, gen_server:call(P, {await, <<"k">>, 1000})),
    ?assertEqual(10000, gen_server:call(P, size)).

kv_binary_values() ->
    P = kv(),
    Values = [<<>>, <<0>>, binary:copy(<<255>>, 100000), <<"grüß"/utf8>>],
    [?assertEqual(ok, gen_server:call(P, {put, V, V})) || V <- Values],
    [?assertEqual({ok, V}, gen_server:call(P, {get, V})) || V <- Values],
    ?assertEqual(length(Values), gen_server:call(P, size)).

kv_unhandled() ->
    P = kv(),
    ?assertEqual({unhandled, {frobnicate, 1}}, gen_server:call(P, {frobnicate, 1})),
    ?assertEqual({unhandled, nothing}, gen_server:call(P, nothing)).

server_start_worker() ->
    Id = np_node:unique("sw"),
    {ok, P} = gen_server:call({?ECHO_SERVER, main()}, {start_worker, Id, []}),
    ?assertEqual(hi, gen_server:call(P, hi)),
    ?assertEqual({ok, P}, gen_server:call({?ECHO_SERVER, main()}, {whereis, Id})),
    ok = gen_server:call({?ECHO_SUP, main()}, {terminate_child, P}),
    ?assertEqual({error, not_registered}, gen_server:call({?ECHO_SERVER, main()}, {whereis, Id})).

%% Ids are compared as OTP compares terms: 1 and 1.0 are two.
server_ids_of_any_kind() ->
    Unique = erlang:unique_integer([positive]),
    Ids = [Unique, float(Unique), {Unique, a}, integer_to_list(Unique), integer_to_binary(Unique),
           list_to_atom("id" ++ integer_to_list(Unique)),
           -Unique, Unique + (1 bsl 80), [Unique | improper], #{id => Unique}, {self(), make_ref()}],
    Started = [{Id, begin {ok, P} = gen_server:call({?ECHO_SERVER, main()}, {start_worker, Id, []}), P end}
               || Id <- Ids],
    ?assertEqual(length(Ids), length(lists:usort([P || {_, P} <- Started]))),
    [?assertEqual({ok, P}, gen_server:call({?ECHO_SERVER, main()}, {whereis, Id})) || {Id, P} <- Started],
    [ok = gen_server:call({?ECHO_SUP, main()}, {terminate_child, P}) || {_, P} <- Started].

server_unknown_call() ->
    {Ms, _} = np_test:ms(fun() -> gen_server:call({?ECHO_SERVER, main()}, {no, such, thing}, 1000) end),
    ?assert(Ms < 500),
    ?assertMatch({ok, _}, gen_server:call({?ECHO_SERVER, main()}, {whereis, 1})).

workers_are_independent() ->
    A = np_node:worker(?COUNTER),
    B = np_node:worker(?COUNTER),
    ok = sys:suspend(A),
    ?assertEqual(1, gen_server:call(B, increment)),
    exit(A, kill),
    ?assertEqual(2, gen_server:call(B, increment)).
