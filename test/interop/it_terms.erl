%% Terms through the echo worker and back, compared with =:=; sizes around the fragment limit; big messages while
%% small calls flow.
-module(it_terms).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [{echo_of_every_kind, #{timeout => 30000}}, echo_of_random_terms, nested_terms,
     {lists_at_the_string_limit, #{timeout => 30000}},
     {sizes, #{timeout => 60000}}, sizes_by_cast, {big_info_to_a_name, #{timeout => 30000}},
     {two_senders_interleave, #{timeout => 60000}}, {small_calls_flow_beside_big_ones,
                                                     #{alone => true, timeout => 60000}},
     {hundred_megabytes, #{alone => true, timeout => 60000}}, {memory_returns_after_big_messages,
         #{alone => true, native => true, timeout => 60000}}].

echo() -> np_node:worker(?ECHO).

same(P, T) ->
    R = gen_server:call(P, T, 30000),
    ?assert(R =:= T, {sent, shorten(T), got, shorten(R)}).

shorten(T) -> lists:flatten(io_lib:format("~0P", [T, 30])).

echo_of_every_kind() ->
    P = echo(),
    [same(P, T) || T <- terms()].

terms() ->
    Far = fun(Node, Num, Serial, Creation) ->
        Name = atom_to_binary(Node),
        binary_to_term(<<131, 88, 119, (byte_size(Name)), Name/binary, Num:32, Serial:32, Creation:32>>) end,
    FarRef = fun(Node, Creation, Ids) ->
        Name = atom_to_binary(Node),
        binary_to_term(<<131, 90, (length(Ids)):16, 119, (byte_size(Name)), Name/binary, Creation:32,
                         (<< <<I:32>> || I <- Ids >>)/binary>>) end,
    FarPort = fun(Node, Id, Creation) ->
        Name = atom_to_binary(Node),
        binary_to_term(<<131, 120, 119, (byte_size(Name)), Name/binary, Id:64, Creation:32>>) end,
    Integers = [0, 1, 255, 256, -1, -128, 16#7fffffff, 16#80000000, -16#80000000, -16#80000001, 1 bsl 31, 1 bsl 32,
                1 bsl 59, -(1 bsl 59),
                1 bsl 63, (1 bsl 63) - 1, -(1 bsl 63), 1 bsl 64, (1 bsl 64) - 1, -(1 bsl 64), 1 bsl 500,
                -(1 bsl 2039), 1 bsl 2040, -(1 bsl 3000)],
    Floats = [0.0, -0.0, 1.0, -1.5, 1.0e308, 5.0e-324, 2.2250738585072014e-308, 3.141592653589793],
    Atoms = [a, '', true, 'with space', 'ä', '日本', list_to_atom(lists:duplicate(255, $x)),
             list_to_atom(lists:duplicate(255, $é)),
             list_to_atom(lists:duplicate(255, 16#65e5)), list_to_atom(lists:duplicate(255, 16#1F600)), 'quo\'te',
             'nul\0'],
    Binaries = [<<>>, <<0>>, <<"text">>, <<1:1>>, <<5:3>>, <<1, 2, 3:7>>, <<0:9>>, binary:copy(<<"x">>, 65),
                binary:copy(<<"x">>, 70000)],
    Lists = [[], [1], [1, 2, 3], "charlist", lists:seq(0, 255), [256], [-1], [a | b], [1 | 2], [1, 2 | <<"t">>],
             [[] | []], [[[]]], [$a, x],
             [[alias | make_ref()] | x], lists:seq(1, 1000), [1.0, 2, <<"3">>]],
    Tuples = [{}, {{}}, {1}, list_to_tuple(lists:seq(1, 255)), list_to_tuple(lists:seq(1, 256)),
              list_to_tuple(lists:seq(1, 70000))],
    Maps = [#{}, #{a => 1}, maps:from_list([{N, N * N} || N <- lists:seq(1, 32)]),
            maps:from_list([{N, N} || N <- lists:seq(1, 33)]),
            maps:from_list([{{key, N}, #{N => [N]}} || N <- lists:seq(1, 40)]),
            #{1 => a, 1.0 => b, "1" => c, <<"1">> => d, '1' => e},
            #{#{a => b} => #{c => d}}, maps:from_list([{N, N} || N <- lists:seq(1, 5000)])],
    X = {free, "variable"},
    Funs = [fun lists:map/2, fun erlang:node/0, fun(Y) -> {X, Y} end, fun() -> X end, fun ?MODULE:terms/0],
    Ids = [self(), whereis(init), hd(erlang:ports()), make_ref(), alias(), group_leader(), np_node:whereis(?COUNTER),
           Far('far@elsewhere', 1, 2, 3), Far('far@elsewhere', 16#ffffffff, 16#ffffffff, 16#ffffffff),
           Far(node(), 1, 0, 77), Far('far@elsewhere', 1, 0, 0),
           FarRef('far@elsewhere', 5, [1, 2, 3]), FarRef('far@elsewhere', 5, [1]),
           FarRef('far@elsewhere', 16#ffffffff, [1, 2, 3, 4, 5]),
           FarPort('far@elsewhere', 1 bsl 40, 9)],
    Structs = [#{'__struct__' => 'Elixir.Range', first => 1, last => 10, step => 1}, {ok, nil}, [{a, 1}, {b, 2}]],
    Integers ++ Floats ++ Atoms ++ Binaries ++ Lists ++ Tuples ++ Maps ++ Funs ++ Ids ++ Structs ++ [{all, Integers,
        Atoms, Lists, Maps, Ids}].

%% Reproducible; the seed is in the note of a failure as the term is.
echo_of_random_terms() ->
    P = echo(),
    rand:seed(exsss, {1, 2, 3}),
    [same(P, random_term(6)) || _ <- lists:seq(1, 2000)].

random_term(0) -> lists:nth(rand:uniform(6), [rand:uniform(1 bsl 70), atom, <<(rand:uniform(1000)):13>>,
                                              rand:uniform(), [], "str"]);
random_term(Depth) ->
    Some = fun() -> [random_term(Depth - 1) || _ <- lists:seq(1, rand:uniform(3))] end,
    case rand:uniform(8) of
        1 -> list_to_tuple(Some());
        2 -> Some();
        3 -> maps:from_list([{K, K} || K <- Some()]);
        4 -> [random_term(Depth - 1) | random_term(Depth - 1)];
        5 -> << <<B>> || B <- lists:seq(1, rand:uniform(100)) >>;
        6 -> rand:uniform(1 bsl rand:uniform(200)) - (1 bsl 60);
        7 -> make_ref();
        8 -> random_term(Depth - 1)
    end.

%% The node's bound is 1024 deep, the call around it included.
nested_terms() ->
    P = echo(),
    [same(P, lists:foldl(fun(_, T) -> Wrap(T) end, end_of_it, lists:seq(1, Depth)))
     || Depth <- [10, 100, 500, 1000], Wrap <- [fun(T) -> {T} end, fun(T) -> [T] end, fun(T) -> #{k => T} end]],
    same(P, lists:foldl(fun(N, T) -> [N | T] end, tail, lists:seq(1, 200000))). % long, not deep

lists_at_the_string_limit() ->
    P = echo(),
    [same(P, lists:duplicate(N, Value)) || N <- [65534, 65535, 65536, 65537, 200000], Value <- [7, 256]].

sizes() ->
    P = echo(),
    [same(P, binary:copy(<<N:8>>, N)) || N <- [0, 1, 63, 64, 65, 65400, 65480, 65500, 65520, 65535, 65536, 65537,
                                               131072, 131073, 1000000, 10000000]],
    same(P, rand:bytes(10000000)).

sizes_by_cast() ->
    P = echo(),
    Sizes = [0, 1, 65535, 65536, 65537, 1000000],
    [gen_server:cast(P, binary:copy(<<N:8>>, N)) || N <- Sizes],
    ?assertEqual(length(Sizes), gen_server:call(P, sunk)).

big_info_to_a_name() ->
    {?ECHO_SERVER, np_node:main()} ! binary:copy(<<1>>, 10000000),
    ?assertMatch({ok, _}, gen_server:call({?ECHO_SERVER, np_node:main()}, {whereis, 1}, 20000)).

two_senders_interleave() ->
    Senders = [spawn_monitor(fun() ->
        P = echo(),
        [begin T = {N, K, binary:copy(<<N, K>>, 5000000)}, T = gen_server:call(P, T, 30000) end || K <- lists:seq(1, 3)]
    end) || N <- lists:seq(1, 3)],
    [receive {'DOWN', Ref, _, _, Why} -> ?assertEqual(normal, Why) end || {_, Ref} <- Senders].

%% One process sends 10 MB calls without a pause, another small ones. A small call may wait behind what is already in
%% the
%% sockets and in the BEAM's own queue (1 MiB), not behind a whole big message: the median says so.
small_calls_flow_beside_big_ones() ->
    Big = echo(),
    Small = echo(),
    Quiet = latencies(Small, 500),
    {Sender, Ref} = spawn_monitor(fun() -> send_big(Big, binary:copy(<<9>>, 10000000), 0) end),
    timer:sleep(300),
    Busy = latencies(Small, erlang:monotonic_time(millisecond), 4000, []),
    Sender ! stop,
    Rounds = receive {'DOWN', Ref, _, _, {rounds, N}} -> N; {'DOWN', Ref, _, _, Why} -> error(Why) end,
    {Median, Worst} = {nth(0.5, Busy), lists:last(Busy)},
    Note = io_lib:format("quiet p50 ~.2f ms; beside ~b calls of 10 MB: ~b small, p50 ~.2f p99 ~.2f max ~.2f ms",
                         [nth(0.5, Quiet), Rounds, length(Busy), Median, nth(0.99, Busy), Worst]),
    ?assert(Rounds >= 5, Note),
    ?assert(length(Busy) >= 50, lists:flatten(Note)),
    ?assert(Median < 50, lists:flatten(Note)),
    ?assert(Worst < 1000, lists:flatten(Note)),
    {note, Note}.

send_big(P, Bytes, N) ->
    receive stop -> exit({rounds, N}) after 0 -> ok end,
    Bytes = gen_server:call(P, Bytes, 20000),
    send_big(P, Bytes, N + 1).

latencies(P, N) -> lists:sort([element(1, np_test:ms(fun() -> small = gen_server:call(P, small) end))
                               || _ <- lists:seq(1, N)]).

latencies(P, Begin, Ms, Acc) ->
    case erlang:monotonic_time(millisecond) - Begin < Ms of
        true ->
            {L, small} = np_test:ms(fun() -> gen_server:call(P, small, 20000) end),
            timer:sleep(1),
            latencies(P, Begin, Ms, [L | Acc]);
        false -> lists:sort(Acc)
    end.

nth(Q, Sorted) -> lists:nth(max(1, round(Q * length(Sorted))), Sorted).

hundred_megabytes() ->
    P = echo(),
    {Ms, ok} = np_test:ms(fun() -> same(P, binary:copy(<<"0123456789">>, 10000000)) end),
    erlang:garbage_collect(),
    {note, io_lib:format("~b MB/s each way", [round(100000 / Ms)])}.

%% Buffers grown for big messages are given back: 10 rounds later the node is not bigger than after the first.
memory_returns_after_big_messages() ->
    P = echo(),
    T = binary:copy(<<3>>, 10000000),
    Round = fun() -> T = gen_server:call(P, T, 20000), np_node:rss(np_node:main_info()) end,
    First = lists:max([Round() || _ <- lists:seq(1, 3)]),
    Last = lists:last([Round() || _ <- lists:seq(1, 20)]),
    np_node:sanitized() orelse ?assert(Last =< First + 20000, {first, First, last, Last}),
    {note, io_lib:format("VmRSS ~b kB, then ~b kB", [First, Last])}.
