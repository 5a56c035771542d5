%% After the handshake: every signal of protocols' table at targets that live, died, never were or belong elsewhere;
%% peers with fewer flags; fragments; and bytes that are no signal at all.
-module(it_packets).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [{C, #{native => true, timeout => 40000}} || C <- [
        send_to_all_kinds_of_pids, reg_send_to_unknown_names, link_to_the_dead_gives_noproc,
        monitor_of_the_missing_gives_noproc,
        monitor_echoes_pid_or_name, demonitor_and_downs_for_unknown_refs, unlink_is_always_acknowledged,
        unlink_of_a_link_is_acknowledged_and_silent,
        exits_without_a_link_are_ignored, exit2_of_both_kinds_kills, exit_of_a_link_of_both_kinds_kills,
        alias_send_to_unknown,
        spawn_reply_to_unknown_request, spawn_request_is_answered_in_order, group_leader_signal, tokens_are_passed_over,
        dead_worker_gives_exits_then_downs, old_creation_of_the_peer, ids_that_are_no_ones, calls_with_odd_from,
        pass_through_framing, no_header_cache_but_fragments, fragments_not_agreed, no_send_sender, no_exit_payload,
        no_unlink_id, no_spawn_no_alias,
        big_reply_without_fragments, big_reply_comes_in_fragments,
        fragments_in_order, fragments_interleaved, fragments_of_one_byte, fragments_with_ticks_between,
        fragmented_control_without_payload_parts,
        fragment_errors_close, fragments_unfinished_are_bounded, fragments_unfinished_are_freed,
        unknown_opcodes_close, altact_signals, wrong_shapes_close, missing_payload_closes, garbage_closes,
        wrong_framing_closes, oversized_closes,
        every_prefix_of_a_packet, deep_nesting_in_control, deep_nesting_in_payload, wide_lies_in_payload, tag_soup,
        random_mutations,
        tick_storm, ticks_are_sent_to_the_idle, byte_by_byte_session, signal_burst_in_one_segment,
        slow_reader_is_bounded, killers_are_logged]].

raw(#{node := Node}) -> raw_with(Node, #{}).
raw_with(Node, Options) -> np_raw:connect(Node, Options).

%% A worker that is nobody else's, started through the raw peer itself.
worker(P, Pool) ->
    Server = list_to_atom(atom_to_list(Pool) ++ ".Server"),
    {reply, {ok, W}} = np_raw:call(P, Server, {start_worker, list_to_binary(np_node:unique("h")), []}),
    W.

%% The pid as a pid of the node's name with another number or creation.
variant(#{node := Node} = P, Num, Creation) when is_map(P) -> np_raw:pid(atom_to_binary(Node), Num, 0, Creation).

num(Pid) -> <<131, 88, 119, L, _:L/binary, Num:32, Serial:32, Creation:32>> = ext(Pid), {Num, Serial, Creation}.

ext(Pid) ->
    case term_to_binary(Pid) of
        <<131, 88, 119, _/binary>> = B -> B;
        <<131, 88, 100, L:16, Name:L/binary, Rest/binary>> -> <<131, 88, 119, L, Name/binary, Rest/binary>>
    end.

%% Pids that can not be reached: never used, of another creation, of another node, creation 0.
strangers(#{node_creation := Creation} = P, Live) ->
    {Num, _, _} = num(Live),
    [variant(P, 16#7fffffff, Creation), variant(P, 0, Creation), variant(P, 16#ffffffff, Creation),
     variant(P, Num, Creation - 1), variant(P, Num, Creation + 1),
     variant(P, Num, 0), np_raw:pid(<<"other@127.0.0.1">>, Num, 0, Creation),
     np_raw:pid(<<"other@127.0.0.1">>, 1, 2, 3)].

own_strangers(#{node := Node} = P, Live) -> [S || S <- strangers(P, Live), node(S) =:= Node].

stays(P) -> ?assertEqual(ok, np_raw:sync(P)).

closes(P, What) ->
    ?assertNotEqual(open, np_raw:closes_within(P, 2000), What),
    np_raw:close(P).

%% The table of what must leave the connection as it is.
harmless(Send) -> np_victim:with(fun(V) ->
    P = raw(V),
    W = worker(P, ?COUNTER),
    Send(P, W),
    stays(P),
    {reply, {ok, _}} = np_raw:call(P, ?COUNTER_SERVER, {whereis, 1}),
    np_raw:close(P) end).

send_to_all_kinds_of_pids() -> harmless(fun(P, W) ->
    Me = np_raw:pid(P, 1),
    [begin
         np_raw:send_signal(P, {2, '', X}, hello),
         np_raw:send_signal(P, {22, Me, X}, hello),
         np_raw:send_signal(P, {2, '', X}, {'$gen_call', {Me, x}, get}),
         np_raw:send_signal(P, {22, Me, X}, {'$gen_cast', increment})
     end || X <- [W | strangers(P, W)]] end).

reg_send_to_unknown_names() -> harmless(fun(P, _) ->
    Me = np_raw:pid(P, 1),
    [np_raw:send_signal(P, {6, Me, '', Name}, {'$gen_call', {Me, x}, get})
        || Name <- [nosuch, '', list_to_atom(lists:duplicate(255, $é))]] end).

link_to_the_dead_gives_noproc() -> harmless(fun(P, W) ->
    [begin
         Me = np_raw:pid(P, 10 + N),
         np_raw:send_signal(P, {1, Me, X}),
         ?assertEqual({X, noproc}, np_raw:recv_match(P, 2000, fun({{24, From, To}, R}) when To =:= Me ->
                                                     {From, R} end), X)
     end || {N, X} <- lists:enumerate(own_strangers(P, W))],
    ok end).

monitor_of_the_missing_gives_noproc() -> harmless(fun(P, W) ->
    [begin
         Ref = np_raw:ref(P, N),
         Me = np_raw:pid(P, 10),
         np_raw:send_signal(P, {19, Me, X, Ref}),
         ?assertEqual({X, Me, noproc}, np_raw:recv_match(P, 2000, fun({{28, What, To, R}, Why}) when R =:= Ref ->
                                                         {What, To, Why} end), X)
     end || {N, X} <- lists:enumerate([nosuch, '', 'ünïcode' | own_strangers(P, W)])] end).

monitor_echoes_pid_or_name() -> harmless(fun(P, W) ->
    Me = np_raw:pid(P, 10),
    Ref = np_raw:ref(P, 5),
    np_raw:send_signal(P, {19, Me, W, Ref}),
    stays(P),
    np_raw:send_signal(P, {26, Me, W}, {my, "reason"}),
    ?assertEqual({W, Me, {my, "reason"}}, np_raw:recv_match(P, 2000, fun({{28, What, To, R}, Why}) when R =:= Ref ->
                                                            {What, To, Why} end)) end).

demonitor_and_downs_for_unknown_refs() -> harmless(fun(P, W) ->
    Me = np_raw:pid(P, 1),
    [begin
         np_raw:send_signal(P, {20, Me, X, np_raw:ref(P, N)}),
         np_raw:send_signal(P, {21, Me, W, np_raw:ref(P, N), reason}),
         np_raw:send_signal(P, {28, nosuch, W, np_raw:ref(P, N)}, reason),
         np_raw:send_signal(P, {28, Me, W, np_raw:ref(<<"other@127.0.0.1">>, 3, [N])}, reason)
     end || {N, X} <- lists:enumerate([nosuch, '', W | own_strangers(P, W)])] end).

unlink_is_always_acknowledged() -> harmless(fun(P, W) ->
    [begin
         Me = np_raw:pid(P, 20),
         np_raw:send_signal(P, {35, Id, Me, X}),
         ?assertEqual({X, Me}, np_raw:recv_match(P, 2000, fun({{36, I, From, To}}) when I =:= Id -> {From, To} end),
                      {Id, X})
     end || {N, X} <- lists:enumerate([W | own_strangers(P, W)]), Id <- [N, N + (1 bsl 40), (1 bsl 64) - N]],
    [np_raw:send_signal(P, {36, N, np_raw:pid(P, 20), X}) || {N, X} <- lists:enumerate(own_strangers(P, W))],
    [np_raw:send_signal(P, {4, np_raw:pid(P, 20), X}) || X <- own_strangers(P, W)] end).

%% link, unlink, link, unlink: then the worker's death is nobody's business.
unlink_of_a_link_is_acknowledged_and_silent() -> harmless(fun(P, W) ->
    Me = np_raw:pid(P, 30),
    [begin np_raw:send_signal(P, {1, Me, W}), np_raw:send_signal(P, {35, Id, Me, W}) end || Id <- [1, 2]],
    [?assertEqual(W, np_raw:recv_match(P, 2000, fun({{36, I, From, _}}) when I =:= Id -> From end)) || Id <- [1, 2]],
    np_raw:send_signal(P, {26, np_raw:pid(P, 31), W}, kill),
    stays_without(P, fun({{Op, From, _}, _}) -> (Op =:= 24 orelse Op =:= 3) andalso From =:= W; (_) -> false end) end).

%% Nothing that Bad is true for comes before the answer to a later call.
stays_without(P, Bad) ->
    Me = np_raw:pid(P, 777),
    np_raw:send_signal(P, {6, Me, '', net_kernel}, {'$gen_call', {Me, mark}, {is_auth, node()}}),
    ?assertEqual(mark, np_raw:recv_match(P, 2000, fun({_, {mark, _}}) -> mark;
                                         (S) -> case Bad(S) of true -> {unwanted, S}; false -> false end end)).

exits_without_a_link_are_ignored() -> np_victim:with(fun(V) ->
    P = raw(V),
    W = worker(P, ?COUNTER),
    Me = np_raw:pid(P, 1),
    [begin
         np_raw:send_signal(P, {24, Me, X}, boom),
         np_raw:send_signal(P, {3, Me, X, boom})
     end || X <- [W | own_strangers(P, W)]],
    Ref = np_raw:ref(P, 1),
    np_raw:send_signal(P, {19, Me, W, Ref}),
    stays_without(P, fun({{28, _, _, R}, _}) -> R =:= Ref; (_) -> false end),
    np_raw:close(P) end).

dies_of(Signal, Expected) -> np_victim:with(fun(V) ->
    P = raw(V),
    W = worker(P, ?COUNTER),
    Me = np_raw:pid(P, 1),
    Ref = np_raw:ref(P, 1),
    np_raw:send_signal(P, {19, np_raw:pid(P, 2), W, Ref}),
    Signal(P, Me, W),
    ?assertEqual(Expected, np_raw:recv_match(P, 2000, fun({{28, _, _, R}, Why}) when R =:= Ref -> Why end)),
    stays(P),
    np_raw:close(P) end).

exit2_of_both_kinds_kills() ->
    Token = fun(P) -> {3, 5, 1, np_raw:pid(P, 1), 0} end,
    dies_of(fun(P, Me, W) -> np_raw:send_signal(P, {26, Me, W}, kill) end, killed),
    dies_of(fun(P, Me, W) -> np_raw:send_signal(P, {8, Me, W, kill}) end, killed),
    dies_of(fun(P, Me, W) -> np_raw:send_signal(P, {8, Me, W, "old"}) end, "old"),
    dies_of(fun(P, Me, W) -> np_raw:send_signal(P, {18, Me, W, Token(P), {with, token}}) end, {with, token}),
    dies_of(fun(P, Me, W) -> np_raw:send_signal(P, {27, Me, W, Token(P)}, {with, token}) end, {with, token}),
    dies_of(fun(P, Me, W) -> [np_raw:send_signal(P, {26, Me, W}, normal), np_raw:send_signal(P, {8, Me, W, normal}),
                              np_raw:send_signal(P, {26, Me, W}, after_normal)] end, after_normal).

exit_of_a_link_of_both_kinds_kills() ->
    Token = fun(P) -> {3, 5, 1, np_raw:pid(P, 1), 0} end,
    Linked = fun(Fun) -> fun(P, Me, W) -> np_raw:send_signal(P, {1, Me, W}), Fun(P, Me, W) end end,
    dies_of(Linked(fun(P, Me, W) -> np_raw:send_signal(P, {24, Me, W}, boom) end), boom),
    dies_of(Linked(fun(P, Me, W) -> np_raw:send_signal(P, {3, Me, W, boom}) end), boom),
    dies_of(Linked(fun(P, Me, W) -> np_raw:send_signal(P, {13, Me, W, Token(P), boom}) end), boom),
    dies_of(Linked(fun(P, Me, W) -> np_raw:send_signal(P, {25, Me, W, Token(P)}, boom) end), boom),
    %% `kill' over a link is an ordinary reason.
    dies_of(Linked(fun(P, Me, W) -> np_raw:send_signal(P, {24, Me, W}, kill) end), kill).

alias_send_to_unknown() -> harmless(fun(P, W) ->
    #{node := Node, node_creation := Creation} = P,
    Me = np_raw:pid(P, 1),
    [begin
         np_raw:send_signal(P, {33, Me, Ref}, hello),
         np_raw:send_signal(P, {34, Me, Ref, {3, 5, 1, Me, 0}}, hello)
     end || Ref <- [np_raw:ref(atom_to_binary(Node), Creation, [1, 2, 3]),
                    np_raw:ref(atom_to_binary(Node), Creation, [1]),
                    np_raw:ref(atom_to_binary(Node), Creation, [1, 2, 3, 4, 5]),
                    np_raw:ref(atom_to_binary(Node), Creation - 1, [1, 2, 3]),
                    np_raw:ref(<<"other@127.0.0.1">>, 4, [1, 2, 3])]],
    ?assert(is_pid(W)) end).

spawn_reply_to_unknown_request() -> harmless(fun(P, W) ->
    #{node := Node, node_creation := Creation} = P,
    [begin
         np_raw:send_signal(P, {31, Ref, W, Flags, np_raw:pid(P, 9)}),
         np_raw:send_signal(P, {31, Ref, W, 0, notsup}),
         np_raw:send_signal(P, {32, Ref, W, Flags, np_raw:pid(P, 9), {3, 5, 1, np_raw:pid(P, 1), 0}})
     end || Flags <- [0, 1, 2, 3], Ref <- [np_raw:ref(P, 7), np_raw:ref(atom_to_binary(Node), Creation,
         [7, 7, 7])]] end).

spawn_request_is_answered_in_order() -> harmless(fun(P, _) ->
    #{node := Node} = P,
    Me = np_raw:pid(P, 1),
    Spawn = fun(Id, Mfa, Opts, Args) ->
        Ref = np_raw:ref(P, Id),
        np_raw:send_signal(P, {29, Ref, Me, Me, Mfa, Opts}, Args),
        {Flags, Who} = np_raw:recv_match(P, 2000, fun({{31, R, _, F, X}}) when R =:= Ref -> {F, X};
                                                     ({{28, _, _, R}, _}) when R =:= Ref -> down_before_the_reply end),
        {Ref, Flags, Who} end,
    Res = np_raw:ref(P, 1000),
    {R1, 2, W1} = Spawn(1, {erpc, execute_call, 4}, [monitor], [Res, erlang, node, []]),
    ?assertEqual({Res, return, Node}, np_raw:recv_match(P, 2000, fun({{28, X, _, R}, Why}) when R =:= R1,
                                                        X =:= W1 -> Why end)),
    {R2, 2, W2} = Spawn(2, {erpc, execute_call, 4}, [monitor], [Res, no, such, [1, x]]),
    ?assertEqual({Res, error, undef, [{no, such, [1, x], []}]}, np_raw:recv_match(P, 2000,
        fun({{28, X, _, R}, Why}) when R =:= R2, X =:= W2 -> Why end)),
    {_, 0, W3} = Spawn(3, {erpc, execute_cast, 3}, [], [no, such, []]),
    ?assert(is_pid(W3)),
    {R4, 3, W4} = Spawn(4, {erpc, execute_call, 4}, [link, monitor], [Res, erlang, node, []]),
    ?assert(is_pid(W4)),
    ?assertMatch({_, return, _}, np_raw:recv_match(P, 2000, fun({{28, _, _, R}, Why}) when R =:= R4 -> Why end)),
    %% Rubbish in the request is refused, not taken.
    [begin
         {_, F, Who} = Spawn(10 + N, Mfa, Opts, Args),
         ?assert(is_integer(F) andalso (is_atom(Who) orelse is_pid(Who)), {Mfa, Opts, Args, F, Who})
     end || {N, {Mfa, Opts, Args}} <- lists:enumerate([
        {{erpc, execute_call, 4}, [], not_a_list}, {{erpc, execute_call, 4}, [monitor], [a, b]},
        {{erpc, execute_call, 4}, [monitor], [Res, 1, 2, 3]},
        {{erpc, execute_call, 4}, [monitor], [Res, erlang, node, [a | b]]},
        {{erlang, node, 0}, [unknown_option, {x, y}], []},
        {{erlang, apply, 2}, [monitor], [fun() -> ok end, []]}, {{erpc, execute_call, 3}, [link], []}])] end).

group_leader_signal() -> harmless(fun(P, W) ->
    Me = np_raw:pid(P, 1),
    [np_raw:send_signal(P, {7, Me, X}) || X <- [W | strangers(P, W)]] end).

tokens_are_passed_over() -> np_victim:with(fun(V) ->
    P = raw(V),
    E = worker(P, ?ECHO),
    Me = np_raw:pid(P, 1),
    [begin
         Token = {3, Label, 1, Me, 0},
         np_raw:send_signal(P, {12, '', E, Token}, {'$gen_call', {Me, t}, {one, Label}}),
         ?assertEqual({one, Label}, np_raw:recv_match(P, 2000, fun({_, {t, R}}) -> R end)),
         np_raw:send_signal(P, {23, Me, E, Token}, {'$gen_call', {Me, t}, two}),
         ?assertEqual(two, np_raw:recv_match(P, 2000, fun({_, {t, R}}) -> R end)),
         np_raw:send_signal(P, {16, Me, '', net_kernel, Token}, {'$gen_call', {Me, t}, {is_auth, x@y}}),
         ?assertEqual(yes, np_raw:recv_match(P, 2000, fun({_, {t, R}}) -> R end)),
         Ref = np_raw:ref(P, 1),
         np_raw:send_signal(P, {30, Ref, Me, Me, {erlang, node, 0}, [], Token}, []),
         ?assertMatch({_, _}, np_raw:recv_match(P, 2000, fun({{31, R, _, F, X}}) when R =:= Ref -> {F, X};
                                                ({{32, R, _, F, X, _}}) when R =:= Ref -> {F, X} end))
     end || Label <- [0, 17, {any, "label"}, 1 bsl 70, Me]],
    %% Tokens that are none.
    np_raw:send_signal(P, {12, '', E, []}, {'$gen_call', {Me, t}, nil_token}),
    _ = np_raw:recv_match(P, 300, fun({_, {t, R}}) -> R end),
    np_raw:close(P) end).

%% One EXIT for each link, one DOWN for each monitor, the links first.
dead_worker_gives_exits_then_downs() -> np_victim:with(fun(V) ->
    P = raw(V),
    W = worker(P, ?COUNTER),
    Pids = [np_raw:pid(P, N) || N <- lists:seq(1, 10)],
    [begin np_raw:send_signal(P, {19, Pid, W, np_raw:ref(P, N)}), np_raw:send_signal(P, {1, Pid, W}) end
        || {N, Pid} <- lists:enumerate(Pids)],
    np_raw:send_signal(P, {26, np_raw:pid(P, 99), W}, bye),
    Seen = [np_raw:recv_match(P, 2000, fun({{24, X, To}, bye}) when X =:= W -> {exit, To};
                              ({{28, X, To, _}, bye}) when X =:= W -> {down, To} end) || _ <- lists:seq(1, 20)],
    ?assertEqual(lists:sort([{exit, X} || X <- Pids]), lists:sort(lists:sublist(Seen, 10))),
    ?assertEqual(lists:sort([{down, X} || X <- Pids]), lists:sort(lists:nthtail(10, Seen))),
    stays(P),
    np_raw:close(P) end).

%% The peer comes back with another creation: what its former self held is gone, the node sends nothing to it.
old_creation_of_the_peer() -> np_victim:with(fun(#{node := Node}) ->
    Name = list_to_binary(np_node:unique("again") ++ "@127.0.0.1"),
    P1 = np_raw:connect(Node, #{name => Name, creation => 100}),
    W = worker(P1, ?COUNTER),
    W2 = worker(P1, ?ECHO),
    np_raw:send_signal(P1, {19, np_raw:pid(P1, 1), W, np_raw:ref(P1, 1)}),
    np_raw:send_signal(P1, {1, np_raw:pid(P1, 1), W2}),
    stays(P1),
    np_raw:close(P1),
    P2 = np_test:quietly(fun() -> reconnected(Node, #{name => Name, creation => 101}, 20) end),
    Ref = np_raw:ref(P2, 2),
    np_raw:send_signal(P2, {19, np_raw:pid(P2, 1), W2, Ref}), % W2 died with its link
    ?assertEqual(noproc, np_raw:recv_match(P2, 2000, fun({{28, _, _, R}, Why}) when R =:= Ref -> Why end)),
    np_raw:send_signal(P2, {26, np_raw:pid(P2, 9), W}, boom),
    stays_without(P2, fun({{28, _, _, _}, _}) -> true; ({{24, _, _}, _}) -> true; (_) -> false end),
    %% Messages for its former pids are dropped or sent, as the node likes.
    np_raw:send_signal(P2, {6, np_raw:pid(P1, 1), '', net_kernel}, {'$gen_call', {np_raw:pid(P1, 1), t},
        {is_auth, Node}}),
    stays(P2),
    np_raw:close(P2) end).

reconnected(Node, Options, 1) -> np_raw:connect(Node, Options);
reconnected(Node, Options, N) ->
    case np_test:quietly(fun() -> np_raw:connect(Node, Options) end) of
        #{} = P -> P;
        _ -> timer:sleep(50), reconnected(Node, Options, N - 1)
    end.

%% Senders that are not the peer's: the node may close or not, nothing else happens.
ids_that_are_no_ones() -> np_victim:with(fun(V) ->
    [begin
         P = raw(V),
         W = worker(P, ?COUNTER),
         Spoof = np_raw:pid(<<"other@127.0.0.1">>, 1, 2, 3),
         Local = variant(P, 1, maps:get(node_creation, P)),
         np_raw:send_packet(P, Make(P, W, Spoof)),
         np_raw:send_packet(P, Make(P, W, Local)),
         _ = np_raw:sync(P),
         np_raw:close(P)
     end || Make <- [fun(P, W, X) -> np_raw:signal(P, {1, X, W}) end,
                     fun(P, W, X) -> np_raw:signal(P, {19, X, W, np_raw:ref(P, 1)}) end,
                     fun(P, W, X) -> np_raw:signal(P, {35, 5, X, W}) end,
                         fun(P, _, X) -> np_raw:signal(P, {35, 5, X, X}) end,
                     fun(P, W, X) -> np_raw:signal(P, {35, 0, X, W}) end,
                         fun(P, W, _) -> np_raw:signal(P, {35, 0, np_raw:pid(P, 1), W}) end,
                     fun(P, W, X) -> np_raw:signal(P, {22, X, W}, {'$gen_call', {X, t}, get}) end,
                         fun(P, W, X) -> np_raw:signal(P, {26, X, W}, normal) end,
                     fun(P, _, X) -> np_raw:signal(P, {19, X, X, np_raw:ref(P, 1)}) end,
                         fun(P, _, X) -> np_raw:signal(P, {1, X, X}) end,
                     fun(P, _, X) -> np_raw:signal(P, {29, np_raw:ref(P, 1), X, X, {erlang, node, 0},
                                                       [link, monitor]}, []) end,
                     fun(P, W, X) -> np_raw:signal(P, {20, X, W, make_ref()}) end]] end).

%% A worker answers where the From of the call says; a From that is none makes no answer.
calls_with_odd_from() -> harmless(fun(P, W) ->
    Me = np_raw:pid(P, 1),
    #{node := Node, node_creation := Creation} = P,
    [np_raw:send_signal(P, {22, Me, W}, M) || M <- [
        {'$gen_call', {np_raw:pid(<<"other@127.0.0.1">>, 1, 2, 3), t}, get},
        {'$gen_call', {np_raw:pid(atom_to_binary(Node), 5, 0, Creation), t}, get},
        {'$gen_call', {W, t}, get}, {'$gen_call', {W, [alias | make_ref()]}, get},
        {'$gen_call', {Me, [alias | not_a_ref]}, get}, {'$gen_call', {Me, [alias]}, get},
        {system, {Me, t}, {terminate}}, {system, {Me, [alias | np_raw:ref(<<"other@127.0.0.1">>, 1, [1, 2, 3])]},
                                         get_state},
        {'$gen_call', {np_raw:pid(P, 1), binary:copy(<<"t">>, 100000)}, get}]] end).

%% ---- peers with fewer flags ----

-define(FLAGS, 16#D07DF5FBC).
without(Flags) -> #{flags => ?FLAGS band bnot lists:foldl(fun(F, A) -> F bor A end, 0, Flags)}.

%% What every peer gets, whatever its flags: calls, downs, exits, spawn requests.
serves(Options, Ops) -> np_victim:with(fun(#{node := Node}) ->
    P = np_raw:connect(Node, Options),
    W = worker(P, ?COUNTER),
    Me = np_raw:pid(P, 1),
    Ref = np_raw:ref(P, 1),
    stays(P),
    np_raw:send_signal(P, {2, '', W}, {'$gen_call', {Me, t}, increment}),
    {Op, 1} = np_raw:recv_match(P, 2000, fun({C, {t, R}}) -> {element(1, C), R} end),
    ?assertEqual(maps:get(send, Ops, 22), Op),
    np_raw:send_signal(P, {19, Me, W, Ref}),
    np_raw:send_signal(P, {1, Me, W}),
    np_raw:send_signal(P, {8, np_raw:pid(P, 5), W, {big, binary:copy(<<1>>, maps:get(reason_size, Ops, 10))}}),
    [{ExitOp, exit}, {DownOp, down}] = [np_raw:recv_match(P, 2000, fun
        ({{24, X, _}, {big, _}}) when X =:= W -> {24, exit};
        ({{3, X, _, {big, _}}}) when X =:= W -> {3, exit};
        ({{28, X, _, _}, {big, _}}) when X =:= W -> {28, down};
        ({{21, X, _, _, {big, _}}}) when X =:= W -> {21, down} end) || _ <- [1, 2]],
    ?assertEqual({maps:get(exit, Ops, 24), maps:get(down, Ops, 28)}, {ExitOp, DownOp}),
    stays(P),
    np_raw:close(P) end).

pass_through_framing() -> serves(without([16#800000]), #{}).
no_header_cache_but_fragments() -> serves(#{}, #{reason_size => 200000}).
fragments_not_agreed() -> np_victim:with(fun(#{node := Node}) ->
    P = np_raw:connect(Node, without([16#800000])),
    ?assertEqual(pass, maps:get(mode, P)),
    np_raw:send_packet(P, <<131, 69, 5:64, 2:64, 0>>),
    closes(P, fragment_without_agreement) end).
no_send_sender() -> serves(without([16#80000]), #{send => 2}).
no_exit_payload() -> serves(without([16#400000]), #{exit => 3, down => 21}).
no_spawn_no_alias() -> serves(without([1 bsl 32, 8 bsl 32]), #{}).

%% Without UNLINK_ID an unlink is opcode 4, and has no answer.
no_unlink_id() -> np_victim:with(fun(#{node := Node}) ->
    P = np_raw:connect(Node, without([16#2000000])),
    W = worker(P, ?COUNTER),
    Me = np_raw:pid(P, 1),
    np_raw:send_signal(P, {1, Me, W}),
    np_raw:send_signal(P, {4, Me, W}),
    np_raw:send_signal(P, {26, np_raw:pid(P, 2), W}, kill),
    stays_without(P, fun({{24, _, _}, _}) -> true; ({{36, _, _, _}}) -> true; (_) -> false end),
    np_raw:close(P) end).

big_reply_without_fragments() -> np_victim:with(fun(#{node := Node}) ->
    P = np_raw:connect(Node, without([16#800000])),
    E = worker(P, ?ECHO),
    Me = np_raw:pid(P, 1),
    Big = binary:copy(<<5>>, 300000),
    np_raw:send_signal(P, {2, '', E}, {'$gen_call', {Me, t}, Big}),
    ?assert(Big =:= np_raw:recv_match(P, 3000, fun({_, {t, R}}) -> R end)),
    np_raw:close(P) end).

big_reply_comes_in_fragments() -> np_victim:with(fun(V) ->
    P = raw(V),
    E = worker(P, ?ECHO),
    Me = np_raw:pid(P, 1),
    Big = binary:copy(<<5>>, 300000),
    np_raw:send_signal(P, {2, '', E}, {'$gen_call', {Me, t}, Big}),
    Packets = until_last(P, []),
    ?assertMatch([<<131, 69, _/binary>> | _], Packets),
    [?assert(byte_size(B) =< 66000) || B <- Packets],
    <<131, 69, Seq:64, Count:64, _/binary>> = hd(Packets),
    ?assert(Seq > 0),
    ?assertEqual(lists:seq(Count, 1, -1), [Id || <<131, _, S:64, Id:64, _/binary>> <- Packets, S =:= Seq]),
    np_raw:close(P) end).

until_last(P, Acc) ->
    case np_raw:recv_packet(P, 3000) of
        <<131, 70, _:64, 1:64, _/binary>> = B -> lists:reverse([B | Acc]);
        <<131, T, _/binary>> = B when T =:= 69; T =:= 70 -> until_last(P, [B | Acc]);
        Other when not is_tuple(Other) -> until_last(P, Acc)
    end.

%% ---- fragments ----

echo_call(P, E, Tag, T) -> {{22, np_raw:pid(P, 1), E}, {'$gen_call', {np_raw:pid(P, 1), Tag}, T}}.

answered(P, Tag, T) -> ?assert(T =:= np_raw:recv_match(P, 3000, fun({_, {X, R}}) when X =:= Tag -> R end)).

fragments_in_order() -> np_victim:with(fun(V) ->
    P = raw(V),
    E = worker(P, ?ECHO),
    [begin
         {C, M} = echo_call(P, E, Seq, binary:copy(<<7>>, 1000)),
         [np_raw:send_packet(P, F) || F <- np_raw:fragments(Seq, C, M, N)],
         answered(P, Seq, binary:copy(<<7>>, 1000))
     end || {Seq, N} <- [{1, 1}, {2, 2}, {3, 3}, {4, 50}, {(1 bsl 64) - 1, 3}, {1, 2}]],
    np_raw:close(P) end).

fragments_interleaved() -> np_victim:with(fun(V) ->
    P = raw(V),
    E = worker(P, ?ECHO),
    Texts = [{Seq, binary:copy(<<Seq>>, 5000)} || Seq <- lists:seq(1, 20)],
    All = [begin {C, M} = echo_call(P, E, Seq, T), np_raw:fragments(Seq, C, M, 10) end || {Seq, T} <- Texts],
    [begin
         np_raw:send_packet(P, lists:nth(K, Fs)),
         K =:= 5 andalso np_raw:send_packet(P, np_raw:signal(P, {22, np_raw:pid(P, 1), E},
             {'$gen_call', {np_raw:pid(P, 1), between}, ok}))
     end || K <- lists:seq(1, 10), Fs <- All],
    Answers = [np_raw:recv_match(P, 3000, fun({_, {between, ok}}) -> between;
                                 ({_, {Seq, R}}) when is_integer(Seq) -> {Seq, R} end) || _ <- lists:seq(1, 40)],
    ?assertEqual(20, length([x || between <- Answers])),
    ?assertEqual(Texts, lists:sort(Answers -- lists:duplicate(20, between))),
    np_raw:close(P) end).

fragments_of_one_byte() -> np_victim:with(fun(V) ->
    P = raw(V),
    E = worker(P, ?ECHO),
    {C, M} = echo_call(P, E, t, <<"a small message in very small parts">>),
    [np_raw:send_packet(P, F) || F <- np_raw:fragments(9, C, M, byte_size(np_raw:encode(M)))],
    answered(P, t, <<"a small message in very small parts">>),
    np_raw:close(P) end).

fragments_with_ticks_between() -> np_victim:with(fun(V) ->
    P = raw(V),
    E = worker(P, ?ECHO),
    {C, M} = echo_call(P, E, t, lists:seq(1, 100)),
    [begin np_raw:send_packet(P, F), np_raw:send_packet(P, <<>>) end || F <- np_raw:fragments(9, C, M, 7)],
    answered(P, t, lists:seq(1, 100)),
    np_raw:close(P) end).

%% All of the control tuple stands in the first fragment; empty slices are legal.
fragmented_control_without_payload_parts() -> np_victim:with(fun(V) ->
    P = raw(V),
    E = worker(P, ?ECHO),
    {C, M} = echo_call(P, E, t, x),
    np_raw:send_packet(P, [<<131, 69, 3:64, 3:64, 0>>, np_raw:encode(C)]),
    np_raw:send_packet(P, [<<131, 70, 3:64, 2:64>>, np_raw:encode(M)]),
    np_raw:send_packet(P, <<131, 70, 3:64, 1:64>>),
    answered(P, t, x),
    np_raw:close(P) end).

fragment_errors_close() -> np_victim:with(fun(V) ->
    Start = fun(P, E, Seq, N) -> {C, M} = echo_call(P, E, t, binary:copy(<<1>>, 500)),
        np_raw:fragments(Seq, C, M, N) end,
    [begin
         P = raw(V),
         E = worker(P, ?ECHO),
         [np_raw:send_packet(P, F) || F <- Make(P, E)],
         closes(P, What)
     end || {What, Make} <- [
        {stray_continuation, fun(_, _) -> [<<131, 70, 5:64, 1:64, "x">>] end},
        {stray_continuation_2, fun(_, _) -> [<<131, 70, 5:64, 9:64, "x">>] end},
        {skipped_one, fun(P, E) -> [A, _, C | _] = Start(P, E, 5, 5), [A, C] end},
        {swapped, fun(P, E) -> [A, B, C, D, Z] = Start(P, E, 5, 5), [A, C, B, D, Z] end},
        {twice_the_same, fun(P, E) -> [A, B | _] = Start(P, E, 5, 5), [A, B, B] end},
        {active_id_again, fun(P, E) -> [A | _] = Start(P, E, 5, 5), [A, A] end},
        {split_control, fun(P, E) -> [A | _] = Start(P, E, 5, 5), B = iolist_to_binary(A), [binary:part(B, 0, 25)] end},
        {fragment_id_zero, fun(P, E) -> {C, _} = echo_call(P, E, t, x),
         [[<<131, 69, 5:64, 0:64, 0>>, np_raw:encode(C)]] end},
        {atom_refs, fun(_, _) -> [<<131, 69, 5:64, 2:64, 1, 0, 0, 82, 0>>] end},
        {cut_header, fun(_, _) -> [<<131, 69, 5:64>>] end},
        {cut_continuation, fun(_, _) -> [<<131, 70, 5:32>>] end},
        {garbage_when_whole, fun(P, E) -> {C, _} = echo_call(P, E, t, x),
         [[<<131, 69, 5:64, 2:64, 0>>, np_raw:encode(C), <<104>>], <<131, 70, 5:64, 1:64, 255, 255>>] end},
        {cut_when_whole, fun(P, E) -> {C, M} = echo_call(P, E, t, x), B = np_raw:encode(M),
                                      [[<<131, 69, 5:64, 2:64, 0>>, np_raw:encode(C),
                                        binary:part(B, 0, byte_size(B) - 1)], <<131, 70, 5:64, 1:64>>] end}]],
    %% A lie about the count costs nothing.
    P = raw(V),
    E = worker(P, ?ECHO),
    {C, _} = echo_call(P, E, t, x),
    [np_raw:send_packet(P, [<<131, 69, Seq:64, 16#ffffffffffffffff:64, 0>>, np_raw:encode(C),
                            <<109, 16#ffffffff:32>>]) || Seq <- lists:seq(1, 50)],
    stays(P),
    np_raw:close(P) end).

%% Messages begun and never finished: the node closes before they take all memory.
fragments_unfinished_are_bounded() ->
    #{node := Node} = N = np_node:native(#{node => ["max_message_mb: 16"]}),
    P = np_raw:connect(Node, #{}),
    Slice = binary:copy(<<1>>, 65536),
    Before = np_node:rss(N),
    Sent = pour(P, Slice, 1, 20000),
    Grown = np_node:rss(N) - Before,
    np_raw:close(P),
    ?assert(Sent < 20000, "1.3 GB of unfinished messages were taken"),
    np_node:sanitized() orelse ?assert(Grown < 700000, Grown),
    P2 = np_raw:connect(Node, #{}),
    ?assertEqual(ok, np_raw:sync(P2)),
    {note, io_lib:format("closed after ~b messages of 64 kB, VmRSS grew ~b kB", [Sent, Grown])}.

pour(_, _, Seq, Max) when Seq >= Max -> Seq;
pour(P, Slice, Seq, Max) ->
    Packet = [<<131, 69, Seq:64, 3:64, 0>>, np_raw:encode({6, np_raw:pid(P, Seq), '', net_kernel}),
              <<109, 1000000:32>>, Slice],
    case np_raw:send_packet(P, Packet) of ok -> pour(P, Slice, Seq + 1, Max); {error, _} -> Seq end.

fragments_unfinished_are_freed() ->
    #{node := Node} = N = np_node:native(#{}),
    Round = fun() ->
        P = np_raw:connect(Node, #{}),
        _ = pour(P, binary:copy(<<1>>, 65536), 1, 300),
        ?assertEqual(ok, np_raw:sync(P)),
        np_raw:close(P),
        timer:sleep(20)
    end,
    [Round() || _ <- lists:seq(1, 3)],
    Before = np_node:rss(N),
    [Round() || _ <- lists:seq(1, 10)],
    After = np_node:rss(N),
    np_node:sanitized() orelse ?assert(After - Before < 25000, {Before, After}), % one round is 19 MB
    {note, io_lib:format("VmRSS ~b kB, then ~b kB", [Before, After])}.

%% ---- no signals at all ----

all_close(Packets) -> np_victim:with(fun(V) ->
    [begin
         P = raw(V),
         W = worker(P, ?COUNTER),
         np_raw:send_packet(P, Make(P, W)),
         closes(P, What)
     end || {What, Make} <- Packets] end).

unknown_opcodes_close() ->
    all_close([{Op, fun(P, _) -> np_raw:signal(P, {Op, np_raw:pid(P, 1), ''}) end}
               || Op <- [0, 5, 9, 10, 11, 14, 15, 17, 38, 99, 255, 256, -1, 1 bsl 31, 1 bsl 32, 1 bsl 70, send, 2.0,
                         "2"]]).

%% OTP 28's opcode: a message to a pid, a name or an alias, an exit signal; with and without a token.
altact_signals() ->
    np_victim:with(fun(V) ->
        P = raw(V),
        E = worker(P, ?ECHO),
        Me = np_raw:pid(P, 1),
        Token = {3, 5, 1, Me, 0},
        [begin
             np_raw:send_signal(P, list_to_tuple([37, Flags, Me, To | [Token || Flags band 2 =/= 0]]),
                                {'$gen_call', {Me, t}, Request}),
             ?assertEqual(Answer, np_raw:recv_match(P, 2000, fun({_, {t, R}}) -> R end), Flags)
         end || {Flags, To, Request, Answer} <- [{0, E, a, a}, {1, E, b, b}, {2, E, c, c}, {3, E, d, d},
                                                 {8, net_kernel, {is_auth, x@y}, yes},
                                                 {10, net_kernel, {is_auth, x@y}, yes}]],
        np_raw:send_signal(P, {37, 4, Me, np_raw:ref(P, 1)}, hi),
        stays(P),
        np_raw:close(P) end),
    dies_of(fun(P, Me, W) -> np_raw:send_signal(P, {37, 16, Me, W}, because) end, because).

wrong_shapes_close() ->
    Control = fun(T) -> {T, fun(P, W) -> np_raw:signal(P, fill(T, P, W)) end} end,
    WithPayload = fun(T) -> {T, fun(P, W) -> np_raw:signal(P, fill(T, P, W), hello) end} end,
    all_close([Control(T) || T <- [{}, [], atom, 17, "string", <<"binary">>, #{}, {1}, {1, me}, {1, me, w, extra},
                                   {1, atom, w}, {1, me, 17}, {3, me, w}, {4, me},
                                   {19, me, w}, {19, me, 17, ref}, {19, me, w, notref}, {19, atom, w, ref},
                                   {20, me, w}, {20, me, w, 1}, {21, w, me, ref},
                                   {35, 1, me}, {35, notint, me, w}, {35, -1, me, w}, {35, 1 bsl 64, me, w},
                                   {36, x, me, w}, {31, ref, w, 0}, {31, ref, w, x, me},
                                   {7, me}, {8, me, w}]]
              ++ [WithPayload(T) || T <- [{2, ''}, {2, '', 17}, {6, me, ''}, {6, atom, '', name}, {6, me, '', 17},
                                          {6, me, '', "name"}, {22, me}, {22, me, 17}, {24, me},
                                          {26, me, 17}, {28, w, me}, {28, w, me, notref}, {33, me}, {33, me, notref},
                                          {29, ref, me, me, {a, b, 0}}, {29, ref, me, me, notmfa, []},
                                          {29, notref, me, me, {a, b, 0}, []}, {29, ref, me, me, {a, b, x}, []}]]).

fill(T, P, W) when is_tuple(T) -> list_to_tuple([case E of me -> np_raw:pid(P, 1); w -> W; ref -> np_raw:ref(P, 1);
                                                 _ -> E end || E <- tuple_to_list(T)]);
fill(T, _, _) -> T.

missing_payload_closes() ->
    all_close([{T, fun(P, W) -> np_raw:signal(P, fill(T, P, W)) end}
               || T <- [{2, '', w}, {6, me, '', net_kernel}, {22, me, w}, {24, me, w}, {26, me, w}, {28, w, me, ref},
                        {33, me, ref}, {29, ref, me, me, {erlang, node, 0}, []},
                        {12, '', w, []}, {23, me, w, []}]]).

garbage_closes() ->
    all_close([{B, fun(_, _) -> [<<131, 68, 0>>, B] end}
               || B <- [<<>>, <<255>>, <<104>>, <<104, 3>>, <<104, 3, 97>>, <<104, 3, 97, 22>>,
                        <<105, 255, 255, 255, 255>>, <<108, 255, 255, 255, 255>>, <<109, 255, 255, 255, 255>>,
                        <<110, 255, 0>>, <<111, 255, 255, 255, 255, 0>>, <<116, 255, 255, 255, 255>>,
                        <<118, 255, 255>>, <<119, 200>>, <<82, 0>>, <<80, 0, 0, 1, 0, 120>>, <<131>>,
                        <<121, 1, 2, 3>>, <<100, 255, 255, "x">>, <<119, 2, 255, 255>>, <<88>>, <<90, 0, 6>>,
                        <<90, 255, 255, 119, 1, "x">>, <<112, 255, 255, 255, 255>>, <<0:800>>]]
              ++ [{payload, fun(P, W) -> [np_raw:signal(P, {22, np_raw:pid(P, 1), W}), B] end}
                  || B <- [<<255>>, <<104, 2, 97, 1>>, <<108, 0, 0, 0, 5, 97, 1>>, <<109, 0, 0, 1, 0, 1>>,
                           <<107, 0, 10, "x">>, <<70, 0, 0>>, <<119, 3, "ab">>, <<82, 0>>,
                           <<116, 0, 0, 0, 1, 97, 1>>, <<77, 0, 0, 0, 1, 9, 0>>, <<113, 97, 1, 97, 2, 97, 3>>,
                           <<119, 1, 255>>]]).

wrong_framing_closes() ->
    all_close([{bare_112, fun(P, W) -> [112, 131, np_raw:encode({22, np_raw:pid(P, 1), W}), 131,
                                        np_raw:encode(hello)] end},
               {no_header, fun(P, _) -> [131, np_raw:encode({6, np_raw:pid(P, 1), '', x})] end},
                   {one_byte, fun(_, _) -> <<131>> end},
               {two_bytes, fun(_, _) -> <<131, 68>> end}, {unknown_tag, fun(_, _) -> <<131, 71, 0>> end},
                   {zero, fun(_, _) -> <<0>> end},
               {atom_refs_cut, fun(_, _) -> <<131, 68, 255>> end}, {atom_refs,
                   fun(_, _) -> <<131, 68, 1, 8, 0, 1, "x", 82, 0>> end}]),
    np_victim:with(fun(#{node := Node}) ->
        P = np_raw:connect(Node, without([16#800000])),
        np_raw:send_packet(P, [<<131, 68, 0>>, np_raw:encode({6, np_raw:pid(P, 1), '', x}), np_raw:encode(hello)]),
        closes(P, header_in_pass_mode) end).

oversized_closes() -> np_victim:with(fun(#{native := N} = V) ->
    Before = np_node:rss(N),
    [begin
         P = raw(V),
         np_raw:send_bytes(P, [<<Len:32>>, Start]),
         closes(P, Len)
     end || Len <- [16#ffffffff, 16#80000000, 16#7fffffff, 16#20000000], Start <- [<<>>, <<131, 68, 0>>]],
    np_node:sanitized() orelse ?assert(np_node:rss(N) - Before < 50000) end).

%% Each is a whole packet as far as the length says: taken or closed, at once, never waited for.
every_prefix_of_a_packet() -> np_victim:with(fun(V) ->
    P0 = raw(V),
    W = worker(P0, ?COUNTER),
    Whole = iolist_to_binary(np_raw:signal(P0, {22, np_raw:pid(P0, 1), W},
                                           {'$gen_cast', {add, 1 bsl 40, [a | <<"b">>], #{k => 1.5}}})),
    np_raw:close(P0),
    [begin
         P = raw(V),
         np_raw:send_packet(P, binary:part(Whole, 0, N)),
         closes(P, {prefix, N})
     end || N <- lists:seq(1, byte_size(Whole) - 1)],
    %% Trailing bytes: a BEAM bears them.
    P1 = raw(V),
    np_raw:send_packet(P1, [Whole, "junk"]),
    _ = np_raw:closes_within(P1, 50),
    np_raw:close(P1) end).

nests(Depth) ->
    [{lists, [binary:copy(<<108, 0, 0, 0, 1>>, Depth), <<106>>, binary:copy(<<106>>, Depth)]},
     {tuples, [binary:copy(<<104, 1>>, Depth), <<106>>]},
     {maps, [binary:copy(<<116, 0, 0, 0, 1, 97, 1>>, Depth), <<106>>]},
     {map_keys, [binary:copy(<<116, 0, 0, 0, 1>>, Depth), <<106>>, binary:copy(<<106>>, Depth)]},
     {tails, [binary:copy(<<108, 0, 0, 0, 1, 97, 1>>, Depth), <<106>>]},
     {unfinished, binary:copy(<<104, 1>>, Depth)}].

deep_nesting_in_control() ->
    all_close([{What, fun(P, _) -> [<<131, 68, 0, 104, 5, 97, 12, 119, 0>>, np_raw:encode(np_raw:pid(P, 1)), Nest,
                                    Nest] end} || {What, Nest} <- nests(100000)]).

%% A term deeper than the node allows is refused with its connection; a million deep makes no difference.
deep_nesting_in_payload() -> np_victim:with(fun(V) ->
    [begin
         P = raw(V),
         W = worker(P, ?ECHO),
         np_raw:send_packet(P, [np_raw:signal(P, {22, np_raw:pid(P, 1), W}), <<104, 3>>, np_raw:encode('$gen_call'),
                                np_raw:encode({np_raw:pid(P, 1), t}), Nest]),
         closes(P, {What, Depth})
     end || Depth <- [100000, 1000000], {What, Nest} <- nests(Depth)] end).

%% Counts far beyond what follows.
wide_lies_in_payload() -> np_victim:with(fun(#{native := N} = V) ->
    Before = np_node:rss(N),
    [begin
         P = raw(V),
         W = worker(P, ?ECHO),
         np_raw:send_packet(P, [np_raw:signal(P, {22, np_raw:pid(P, 1), W}), Lie, <<97, 1>>]),
         closes(P, Lie)
     end || Lie <- [<<108, 16#7fffffff:32>>, <<105, 16#7fffffff:32>>, <<116, 16#7fffffff:32>>,
                    <<109, 16#7fffffff:32>>, <<111, 16#7fffffff:32>>, <<77, 16#7fffffff:32>>, <<107, 16#ffff:16>>]],
    np_node:sanitized() orelse ?assert(np_node:rss(N) - Before < 50000) end).

tag_soup() -> np_victim:with(fun(V) ->
    rand:seed(exsss, {7, 8, 9}),
    Tags = [70, 77, 80, 82, 88, 89, 90, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112,
            113, 114, 115, 116, 117, 118, 119, 120, 121],
    [begin
         P = raw(V),
         Soup = << <<(lists:nth(rand:uniform(length(Tags)), Tags)), (rand:uniform(4) - 1)>>
                  || _ <- lists:seq(1, rand:uniform(60)) >>,
         np_raw:send_packet(P, [<<131, 68, 0, 104, 3, 97, 22>>, np_raw:encode(np_raw:pid(P, 1)), Soup]),
         _ = np_raw:closes_within(P, 5),
         np_raw:close(P)
     end || _ <- lists:seq(1, 500)] end).

%% Good packets with a few bytes changed.
random_mutations() -> np_victim:with(fun(V) ->
    rand:seed(exsss, {10, 11, 12}),
    P0 = raw(V),
    W = worker(P0, ?COUNTER),
    Me = np_raw:pid(P0, 1),
    Ref = np_raw:ref(P0, 1),
    Good = [iolist_to_binary(B) || B <- [
        np_raw:signal(P0, {22, Me, W}, {'$gen_call', {Me, [alias | Ref]}, {add, 5}}),
        np_raw:signal(P0, {19, Me, W, Ref}), np_raw:signal(P0, {1, Me, W}),
        np_raw:signal(P0, {35, 7, Me, W}), np_raw:signal(P0, {29, Ref, Me, Me, {erpc, execute_call, 4},
            [monitor, link]}, [Ref, erlang, memory, []]),
        np_raw:signal(P0, {6, Me, '', rex}, {'$gen_call', {Me, Ref}, {block_call, erlang, nodes, [this], Me}}),
        np_raw:signal(P0, {28, Me, W, Ref}, {a, [b], #{c => d}}),
        np_raw:signal(P0, {22, Me, W}, {system, {Me, Ref}, {debug, {statistics, get}}}),
        np_raw:signal(P0, {6, Me, '', ?COUNTER_SUP}, {'$gen_call', {Me, Ref}, which_children})]],
    np_raw:close(P0),
    [begin
         P = raw(V),
         [np_raw:send_packet(P, mutate(lists:nth(rand:uniform(length(Good)), Good))) || _ <- lists:seq(1, 5)],
         _ = np_raw:closes_within(P, 5),
         np_raw:close(P)
     end || _ <- lists:seq(1, 1000)] end).

mutate(B) ->
    lists:foldl(fun(_, Acc) ->
        At = rand:uniform(byte_size(Acc)) - 1,
        <<Head:At/binary, Old, Tail/binary>> = Acc,
        case rand:uniform(4) of
            1 -> <<Head/binary, Tail/binary>>;
            2 -> <<Head/binary, Old, (rand:uniform(256) - 1), Tail/binary>>;
            _ -> <<Head/binary, (rand:uniform(256) - 1), Tail/binary>>
        end end, B, lists:seq(1, rand:uniform(3))).

tick_storm() -> np_victim:with(fun(V) ->
    P = raw(V),
    [np_raw:send_bytes(P, binary:copy(<<0:32>>, 10000)) || _ <- lists:seq(1, 20)],
    stays(P),
    np_raw:close(P) end).

%% With a tick time of 2 s an idle peer gets a packet about each half second, and is dropped when it is silent.
ticks_are_sent_to_the_idle() ->
    #{node := Node} = np_node:native(#{node => ["tick_time_s: 4"]}),
    P = np_raw:connect(Node, #{}),
    Begin = erlang:monotonic_time(millisecond),
    Ticks = count_ticks(P, Begin, 0),
    Ms = erlang:monotonic_time(millisecond) - Begin,
    ?assert(Ticks >= 3, Ticks),
    ?assert(Ms >= 3900 andalso Ms < 6500, Ms),
    {note, io_lib:format("~b ticks, dropped after ~b ms of silence", [Ticks, Ms])}.

count_ticks(P, Begin, N) ->
    case np_raw:recv_packet(P, 10000) of
        tick -> count_ticks(P, Begin, N + 1);
        {error, closed} -> N;
        {error, econnreset} -> N;
        {error, Other} -> error(Other);
        _ -> count_ticks(P, Begin, N)
    end.

byte_by_byte_session() -> np_victim:with(fun(V) ->
    P = raw(V),
    E = worker(P, ?ECHO),
    Text = binary:copy(<<"slow ">>, 100),
    {C, M} = echo_call(P, E, t, Text),
    Bytes = iolist_to_binary([np_raw:frame(F) || F <- np_raw:fragments(3, C, M, 4)]),
    [np_raw:send_bytes(P, [B]) || B <- binary_to_list(Bytes)],
    answered(P, t, Text),
    np_raw:close(P) end).

signal_burst_in_one_segment() -> np_victim:with(fun(V) ->
    P = raw(V),
    W = worker(P, ?COUNTER),
    Me = np_raw:pid(P, 1),
    One = iolist_to_binary(np_raw:frame(np_raw:signal(P, {22, Me, W}, {'$gen_cast', increment}))),
    np_raw:send_bytes(P, binary:copy(One, 20000)),
    np_raw:send_signal(P, {22, Me, W}, {'$gen_call', {Me, t}, get}),
    ?assertEqual(20000, np_raw:recv_match(P, 5000, fun({_, {t, R}}) -> R end)),
    np_raw:close(P) end).

%% A peer that asks and never reads: the node holds no more than its bound, then drops that peer only.
slow_reader_is_bounded() ->
    #{node := Node} = N = np_node:native(#{node => ["out_queue_mb: 16"]}),
    B = np_node:beam(#{}),
    E2 = np_node:on(B, fun() -> np_node:worker(Node, ?ECHO) end),
    P = np_raw:connect(Node, #{}),
    E = worker(P, ?ECHO),
    Before = np_node:rss(N),
    {C, M} = echo_call(P, E, t, binary:copy(<<8>>, 1000000)),
    Packet = iolist_to_binary(np_raw:frame(np_raw:signal(P, C, M))),
    {Pid, Ref} = spawn_monitor(fun() -> [ok = np_raw:send_bytes(P, Packet) || _ <- lists:seq(1, 300)] end),
    receive {'DOWN', Ref, _, _, _} -> ok after 5000 -> ok end,
    Grown = np_node:rss(N) - Before,
    exit(Pid, kill),
    {Ms, still} = np_test:ms(fun() -> np_node:on(B, fun() -> gen_server:call(E2, still, 3000) end) end),
    np_raw:close(P),
    np_node:sanitized() orelse ?assert(Grown < 150000, Grown),
    {note, io_lib:format("VmRSS grew ~b kB; another's call beside it: ~.1f ms", [Grown, Ms])}.

%% Why a connection was closed is in the log, with the peer's name.
killers_are_logged() ->
    N = #{node := Node} = np_node:native(#{}),
    V = #{node => Node},
    [begin
         Mark = np_node:mark(N),
         P = #{name := Name} = raw(V),
         np_raw:send_bytes(P, Bytes),
         closes(P, Bytes),
         np_node:logged(N, Mark, [Name])
     end || Bytes <- [<<16#ffffffff:32>>, <<10:32, 131, 68, 0, 0:56>>, <<3:32, 131, 68, 0>>,
                      <<5:32, 112, 131, 97, 1, 0>>]],
    Pattern = "^\\S+ (debug|info|notice|warning|error|critical|alert|emergency) \\S",
    Odd = [L || L <- np_node:lines(np_node:log(N)), L =/= <<>>, re:run(L, Pattern) =:= nomatch],
    ?assertEqual([], lists:sublist(Odd, 3)).
