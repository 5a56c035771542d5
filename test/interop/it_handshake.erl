%% The handshake with the node as the accepting side: what it must refuse, and what it must bear.
-module(it_handshake).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

-define(STATUS_OK(S), ?assertEqual(<<"sok">>, np_raw:recv_handshake(S))).

cases() ->
    [{C, #{native => true, timeout => 30000}} || C <- [
        good_handshake, wrong_cookie, each_mandatory_flag_missing, digest_flag_alone_will_do, no_flags, all_flags,
        own_name, bad_names,
        long_names, name_me, old_n_message, not_a_name_message, trailing_bytes_are_ignored, one_byte_at_a_time,
        signals_right_behind_the_reply,
        empty_and_huge_messages, random_bytes, cut_at_every_byte, storm_of_connections, storm_of_silent_connections,
        alive_true_replaces, alive_false_keeps, alive_with_wrong_cookie_keeps, alive_with_rubbish_keeps,
        challenge_reply_of_wrong_size,
        reflected_challenge, tls_client_hello, http_request]]
    ++ [{stalls_end_after_seven_seconds, #{native => true, slow => true, timeout => 30000}},
        {dribble_does_not_hold_it_open_for_ever, #{native => true, slow => true, timeout => 60000}},
        {memory_is_flat_after_ten_thousand, #{native => true, alone => true, timeout => 120000}}].

name() -> list_to_binary(np_node:unique("raw") ++ "@127.0.0.1").

logged(#{native := Native, mark := Mark}, Texts) -> np_node:logged(Native, Mark, Texts).

%% A node of the case's own, for what must be in the log: the victim's may be holding back the like of it.
fresh(Fun) ->
    Native = #{node := Node} = np_node:native(#{}),
    Fun(#{native => Native, node => Node, port => np_raw:port(Node), mark => np_node:mark(Native)}).

%% The dialogue up to and with the name; the status that came.
status(Port, Flags, Name) ->
    S = np_raw:open(Port),
    np_raw:send_handshake(S, np_raw:name_message(Flags, 5, Name)),
    {S, np_raw:recv_handshake(S)}.

refused(S, Status) ->
    ?assert(lists:member(Status, [<<"snok">>, <<"snot_allowed">>, closed, econnreset]), Status),
    ?assert(np_raw:is_closed(S, 1000)),
    np_raw:close(S).

good_handshake() -> np_victim:with(fun(#{node := Node}) ->
    P = np_raw:connect(Node, #{}),
    ?assertEqual(16#D07DF5FBC, maps:get(their_flags, P)),
    ?assertEqual(header, maps:get(mode, P)),
    ?assertEqual(ok, np_raw:sync(P)),
    np_raw:close(P) end).

wrong_cookie() -> fresh(fun(#{port := Port} = V) ->
    Name = name(),
    {S, <<"sok">>} = status(Port, np_raw:default_flags(), Name),
    <<"N", _:64, Challenge:32, _/binary>> = np_raw:recv_handshake(S),
    np_raw:send_handshake(S, np_raw:challenge_reply(1, np_raw:digest("not the cookie", Challenge))),
    ?assert(lists:member(np_raw:recv_handshake(S), [closed, econnreset])),
    logged(V, [Name, "cookie"]) end).

each_mandatory_flag_missing() -> fresh(fun(#{port := Port} = V) ->
    All = np_raw:default_flags() band bnot 16#4000000,
    [begin
         Name = name(),
         {S, Status} = status(Port, All band bnot Flag, Name),
         ?assertEqual({Flag, <<"snot_allowed">>}, {Flag, Status}),
         ?assert(np_raw:is_closed(S, 1000)),
         %% the log may hold back the like of it that follows
         Flag =:= hd(np_raw:mandatory()) andalso logged(V, [Name, "0x4"])
     end || Flag <- np_raw:mandatory()] end).

digest_flag_alone_will_do() -> np_victim:with(fun(#{node := Node}) ->
    P = np_raw:connect(Node, #{flags => 16#4000000}),
    ?assertEqual(pass, maps:get(mode, P)),
    ?assertEqual(ok, np_raw:sync(P)),
    np_raw:close(P) end).

no_flags() -> np_victim:with(fun(#{port := Port}) ->
    {S, <<"snot_allowed">>} = status(Port, 0, name()),
    ?assert(np_raw:is_closed(S, 1000)) end).

%% Bits not known to the node are ignored; NAME_ME has a case of its own.
all_flags() -> np_victim:with(fun(#{node := Node}) ->
    P = np_raw:connect(Node, #{flags => 16#ffffffffffffffff band bnot (2 bsl 32)}),
    ?assertEqual(16#D07DF5FBC, maps:get(agreed, P) band 16#D07DF5FBC),
    ?assertEqual(ok, np_raw:sync(P)),
    np_raw:close(P) end).

own_name() -> fresh(fun(#{port := Port, node := Node} = V) ->
    {S, Status} = status(Port, np_raw:default_flags(), atom_to_binary(Node)),
    refused(S, Status),
    logged(V, [atom_to_list(Node)]) end).

bad_names() -> np_victim:with(fun(#{port := Port}) ->
    [begin {S, Status} = status(Port, np_raw:default_flags(), Name), refused(S, Status) end
     || Name <- [<<>>, <<"@">>, <<"@127.0.0.1">>, <<"raw@">>, <<"raw">>, <<"ra w@127.0.0.1">>, <<"a@b@c">>,
                 <<"raw\0x@127.0.0.1">>, <<"ra\nw@127.0.0.1">>,
                 <<"raw.x@127.0.0.1">>, <<255, 254, "@127.0.0.1">>, <<"räw@127.0.0.1"/utf8>>]] end).

long_names() -> np_victim:with(fun(#{port := Port, node := Node}) ->
    Long = iolist_to_binary([binary:copy(<<"n">>, 245), "@127.0.0.1"]), % 255 characters: an atom's limit
    P = np_raw:connect(Node, #{name => Long}),
    ?assertEqual(ok, np_raw:sync(P)),
    np_raw:close(P),
    {S, Status} = status(Port, np_raw:default_flags(), iolist_to_binary([binary:copy(<<"n">>, 1000), "@127.0.0.1"])),
    refused(S, Status),
    %% A length that says more than there is.
    S2 = np_raw:open(Port),
    np_raw:send_handshake(S2, <<"N", (np_raw:default_flags()):64, 5:32, 100:16, "short@127.0.0.1">>),
    refused(S2, np_raw:recv_handshake(S2)) end).

name_me() -> np_victim:with(fun(#{port := Port}) ->
    {S, Status} = status(Port, np_raw:default_flags() bor (2 bsl 32), <<"127.0.0.1">>),
    ?assertEqual(<<"snot_allowed">>, Status),
    ?assert(np_raw:is_closed(S, 1000)) end).

old_n_message() -> np_victim:with(fun(#{port := Port}) ->
    S = np_raw:open(Port),
    np_raw:send_handshake(S, <<"n", 5:16, 16#37fbd:32, "old@127.0.0.1">>),
    refused(S, np_raw:recv_handshake(S)) end).

not_a_name_message() -> np_victim:with(fun(#{port := Port}) ->
    [begin
         S = np_raw:open(Port),
         np_raw:send_handshake(S, M),
         refused(S, np_raw:recv_handshake(S))
     end || M <- ["sok", "strue", <<"r", 0:160>>, <<"a", 0:128>>, "N", <<"N", 0:64>>, <<"X">>, <<0>>,
                  <<255, 0:800>>]] end).

trailing_bytes_are_ignored() -> np_victim:with(fun(#{port := Port}) ->
    S = np_raw:open(Port),
    np_raw:send_handshake(S, [np_raw:name_message(np_raw:default_flags(), 5, name()), "what later versions may add"]),
    ?STATUS_OK(S),
    np_raw:close(S) end).

one_byte_at_a_time() -> np_victim:with(fun(#{node := Node, port := Port}) ->
    S = np_raw:open(Port),
    Slowly = fun(Bytes) -> [gen_tcp:send(S, [B]) || B <- binary_to_list(iolist_to_binary(Bytes))] end,
    P0 = #{creation := Creation} = np_raw:start(S, #{}),
    Name = np_raw:name_message(np_raw:default_flags(), Creation, maps:get(name, P0)),
    Slowly([<<(iolist_size(Name)):16>>, Name]),
    ?STATUS_OK(S),
    <<"N", _:64, Challenge:32, _/binary>> = np_raw:recv_handshake(S),
    Slowly([<<21:16>>, np_raw:challenge_reply(7, np_raw:digest(np_node:cookie(), Challenge))]),
    Expected = np_raw:digest(np_node:cookie(), 7),
    ?assertEqual(<<"a", Expected/binary>>, np_raw:recv_handshake(S)),
    P = P0#{mode => header, agreed => np_raw:default_flags(), node => Node},
    Me = np_raw:pid(P, 1),
    Slowly(np_raw:frame(np_raw:signal(P, {6, Me, '', net_kernel}, {'$gen_call', {Me, tag}, {is_auth, Node}}))),
    ?assertEqual(yes, np_raw:recv_match(P, 3000, fun({_, {tag, R}}) -> R end)),
    np_raw:close(P) end).

%% The reply to the challenge and the first signals in one segment.
signals_right_behind_the_reply() -> np_victim:with(fun(#{node := Node}) ->
    Name = name(),
    Fake = #{mode => header, name => Name, creation => 77},
    Me = np_raw:pid(Fake, 1),
    Signals = [np_raw:frame(np_raw:signal(Fake, {6, Me, '', net_kernel},
                                          {'$gen_call', {Me, {n, N}}, {is_auth, Node}})) || N <- [1, 2, 3]],
    P = np_raw:connect(Node, #{name => Name, creation => 77}, [<<0:32>>, Signals]),
    [?assertEqual(yes, np_raw:recv_match(P, 3000, fun({_, {{n, K}, R}}) when K =:= N -> R end)) || N <- [1, 2, 3]],
    np_raw:close(P) end).

empty_and_huge_messages() -> np_victim:with(fun(#{port := Port}) ->
    [begin
         S = np_raw:open(Port),
         gen_tcp:send(S, Bytes),
         ?assert(np_raw:is_closed(S, 1000), Bytes)
     end || Bytes <- [<<0:16>>, <<0:32>>, <<16#ffff:16, 0:8000>>, [<<16#ffff:16>>, binary:copy(<<"N">>, 65535)],
                      binary:copy(<<255>>, 1000000)]] end).

random_bytes() -> np_victim:with(fun(#{port := Port}) ->
    rand:seed(exsss, {4, 5, 6}),
    [begin
         S = np_raw:open(Port),
         gen_tcp:send(S, [<<(rand:uniform(300) - 1):16>>, rand:bytes(rand:uniform(3000))]),
         gen_tcp:shutdown(S, write),
         ?assert(np_raw:is_closed(S, 2000))
     end || _ <- lists:seq(1, 300)] end).

cut_at_every_byte() -> np_victim:with(fun(#{port := Port}) ->
    Message = np_raw:name_message(np_raw:default_flags(), 5, name()),
    Whole = <<(byte_size(Message)):16, Message/binary>>,
    [begin
         S = np_raw:open(Port),
         gen_tcp:send(S, binary:part(Whole, 0, N)),
         gen_tcp:shutdown(S, write),
         ?assert(np_raw:is_closed(S, 2000), N)
     end || N <- lists:seq(0, byte_size(Whole))],
    [begin
         S = np_raw:open(Port),
         np_raw:send_handshake(S, np_raw:name_message(np_raw:default_flags(), 5, name())),
         ?STATUS_OK(S),
         _ = np_raw:recv_handshake(S),
         gen_tcp:send(S, binary:part(<<21:16, "r", 0:160>>, 0, N)),
         gen_tcp:shutdown(S, write),
         ?assert(np_raw:is_closed(S, 2000), N)
     end || N <- lists:seq(0, 22)] end).

storm_of_connections() -> np_victim:with(fun(#{port := Port, node := Node}) ->
    [begin S = np_raw:open(Port), inet:setopts(S, [{linger, {true, 0}}]), np_raw:close(S) end
        || _ <- lists:seq(1, 2000)],
    np_test:eventually(fun() -> P = np_raw:connect(Node, #{}), ok = np_raw:sync(P), np_raw:close(P), true end,
                       3000) end).

%% More unfinished handshakes than the node holds: it closes some at once, and still lets in who comes after they are
%% gone.
storm_of_silent_connections() -> np_victim:with(fun(#{port := Port, node := Node}) ->
    Sockets = [np_raw:open(Port) || _ <- lists:seq(1, 600)],
    timer:sleep(200),
    [np_raw:close(S) || S <- Sockets],
    np_test:eventually(fun() -> P = np_raw:connect(Node, #{}), ok = np_raw:sync(P), np_raw:close(P), true end,
                       3000) end).

second(Node, Options) ->
    Name = name(),
    First = np_raw:connect(Node, #{name => Name, creation => 50}),
    ?assertEqual(ok, np_raw:sync(First)),
    {First, np_test:quietly(fun() -> np_raw:connect(Node, Options#{name => Name, creation => 51}) end)}.

alive_true_replaces() -> np_victim:with(fun(#{node := Node}) ->
    {First, Second} = second(Node, #{alive => <<"true">>}),
    ?assert(np_raw:is_closed(First, 1000)),
    ?assertMatch(#{socket := _}, Second),
    ?assertEqual(ok, np_raw:sync(Second)),
    np_raw:close(Second) end).

alive_false_keeps() -> np_victim:with(fun(#{node := Node}) ->
    {First, Second} = second(Node, #{alive => <<"false">>}),
    ?assertMatch({error, _}, Second),
    ?assertEqual(ok, np_raw:sync(First)),
    np_raw:close(First) end).

alive_with_wrong_cookie_keeps() -> np_victim:with(fun(#{node := Node}) ->
    {First, Second} = second(Node, #{alive => <<"true">>, cookie => "wrong"}),
    ?assertMatch({error, _}, Second),
    ?assertEqual(ok, np_raw:sync(First)),
    np_raw:close(First) end).

alive_with_rubbish_keeps() -> np_victim:with(fun(#{node := Node}) ->
    [begin
         {First, Second} = second(Node, #{alive => Answer}),
         ?assertMatch({error, _}, Second),
         ?assertEqual(ok, np_raw:sync(First)),
         np_raw:close(First)
     end || Answer <- [<<"maybe">>, <<>>, <<"truely">>]] end).

challenge_reply_of_wrong_size() -> np_victim:with(fun(#{port := Port}) ->
    [begin
         {S, <<"sok">>} = status(Port, np_raw:default_flags(), name()),
         _ = np_raw:recv_handshake(S),
         np_raw:send_handshake(S, M),
         ?assert(np_raw:is_closed(S, 1000), M)
     end || M <- ["r", <<"r", 0:32>>, <<"r", 0:152>>, <<"x", 0:160>>, "sok"]] end).

%% Who does not know the cookie sends back the node's own challenge and digest: no way in.
reflected_challenge() -> np_victim:with(fun(#{port := Port}) ->
    {S, <<"sok">>} = status(Port, np_raw:default_flags(), name()),
    <<"N", _:64, Challenge:32, _/binary>> = np_raw:recv_handshake(S),
    np_raw:send_handshake(S, np_raw:challenge_reply(Challenge, <<0:128>>)),
    ?assert(lists:member(np_raw:recv_handshake(S), [closed, econnreset])) end).

tls_client_hello() -> np_victim:with(fun(#{port := Port}) ->
    S = np_raw:open(Port),
    gen_tcp:send(S, <<22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 0:1536>>),
    ?assert(np_raw:is_closed(S, 8500)) end).

http_request() -> np_victim:with(fun(#{port := Port}) ->
    S = np_raw:open(Port),
    gen_tcp:send(S, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ?assert(np_raw:is_closed(S, 8500)) end).

%% Silence at each step: closed after net_setuptime, 7 s.
stalls_end_after_seven_seconds() ->
    #{node := Node} = N = np_node:native(#{}),
    Mark = np_node:mark(N),
    Port = np_raw:port(Node),
    Name = fun() -> M = np_raw:name_message(np_raw:default_flags(), 5, name()), <<(byte_size(M)):16, M/binary>> end,
    AfterStatus = fun(Then) -> fun(S) ->
        gen_tcp:send(S, Name()),
        ?STATUS_OK(S),
        _ = np_raw:recv_handshake(S),
        gen_tcp:send(S, Then) end end,
    Steps = [{nothing, fun(_) -> ok end}, {one_byte, fun(S) -> gen_tcp:send(S, <<0>>) end},
             {length, fun(S) -> gen_tcp:send(S, <<0, 40>>) end},
             {half_a_name, fun(S) -> gen_tcp:send(S, binary:part(Name(), 0, 20)) end},
             {no_reply, AfterStatus(<<>>)}, {half_a_reply, AfterStatus(<<21:16, "r", 0:32>>)}],
    Self = self(),
    [spawn_link(fun() -> S = np_raw:open(Port), Do(S), Self ! {What, np_raw:closes_within(S, 12000)} end)
        || {What, Do} <- Steps],
    Times = [receive {What, Ms} -> {What, Ms} after 15000 -> {What, never} end || {What, _} <- Steps],
    [?assert(is_integer(Ms) andalso Ms > 5500 andalso Ms < 9000, Times) || {_, Ms} <- Times],
    ?assert(length([L || L <- np_node:since(N, Mark), byte_size(L) > 0]) > 0, "nothing in the log"),
    P = np_raw:connect(Node, #{}),
    ?assertEqual(ok, np_raw:sync(P)),
    {note, io_lib:format("~b to ~b ms", [lists:min([M || {_, M} <- Times]), lists:max([M || {_, M} <- Times])])}.

%% A byte per second restarts nothing: a step has 7 s, however it is filled.
dribble_does_not_hold_it_open_for_ever() ->
    #{node := Node} = np_node:native(#{}),
    S = np_raw:open(np_raw:port(Node)),
    gen_tcp:send(S, <<0, 200>>),
    Dribble = fun Loop(N) ->
        timer:sleep(1000),
        case gen_tcp:send(S, "N") of
            ok when N < 30 -> case gen_tcp:recv(S, 0, 0) of {error, timeout} -> Loop(N + 1); _ -> N end;
            _ -> N
        end
    end,
    Seconds = Dribble(1),
    ?assert(Seconds < 12, Seconds),
    {note, io_lib:format("closed after ~b s", [Seconds])}.

%% 10,000 hostile connections of all the kinds above and of it_packets, each with a name and an atom of its own. Freed
%% memory may stay with the allocator, so the first 2,000 are let go; a leak of 400 bytes for each of the other 8,000
%% would be over the bound.
memory_is_flat_after_ten_thousand() ->
    #{node := Node} = N = np_node:native(#{}),
    Port = np_raw:port(Node),
    hostile(Node, Port, 0, 2000),
    timer:sleep(300),
    Before = np_node:rss(N),
    hostile(Node, Port, 2000, 10000),
    timer:sleep(300),
    After = np_node:rss(N),
    P = np_raw:connect(Node, #{}),
    ?assertEqual(ok, np_raw:sync(P)),
    np_node:sanitized() orelse ?assert(After - Before < 3200, {kb, Before, After}),
    {note, io_lib:format("VmRSS ~b kB after 2,000, ~b kB after 10,000", [Before, After])}.

hostile(Node, Port, From, To) ->
    Refs = [spawn_monitor(fun() -> [hostile_one(I rem 12, I, Node, Port) || I <- lists:seq(From + K, To - 1, 4)] end)
            || K <- lists:seq(0, 3)],
    [receive {'DOWN', Ref, _, _, Why} -> ?assertEqual(normal, Why) end || {_, Ref} <- Refs].

hostile_one(Kind, I, Node, Port) ->
    Socket = try hostile_kind(Kind, I, Node, Port) catch error:{badmatch, _} -> none end,
    case Socket of
        none -> ok;
        S -> inet:setopts(S, [{linger, {true, 0}}]), np_raw:close(S)
    end.

hostile_kind(0, _, _, Port) -> S = np_raw:open(Port), gen_tcp:send(S, rand:bytes(200)), S;
hostile_kind(1, I, _, Port) -> {S, _} = status(Port, 0, unique_name(I)), S;
hostile_kind(2, I, _, Port) ->
    {S, <<"sok">>} = status(Port, np_raw:default_flags(), unique_name(I)),
    _ = np_raw:recv_handshake(S),
    np_raw:send_handshake(S, <<"r", 0:160>>),
    np_raw:recv_handshake(S),
    S;
hostile_kind(3, I, _, Port) -> {S, <<"sok">>} = status(Port, np_raw:default_flags(), unique_name(I)), S;
hostile_kind(Kind, I, Node, Port) ->
    P = #{socket := S} = np_raw:connect(Port, #{name => unique_name(I)}),
    hostile_packet(Kind, I, P, Node),
    _ = np_raw:closes_within(S, if Kind >= 10 -> 0; true -> 1000 end),
    S.

unique_name(I) -> iolist_to_binary(["hostile", integer_to_list(I), "@127.0.0.1"]).

hostile_packet(4, _, P, _) -> np_raw:send_bytes(P, <<16#ffffffff:32>>);
hostile_packet(5, _, P, _) -> np_raw:send_packet(P, [<<131, 68, 0>>, rand:bytes(100)]);
hostile_packet(6, _, P, _) -> np_raw:send_signal(P, {99, np_raw:pid(P, 1), ''});
hostile_packet(7, I, P, _) -> np_raw:send_packet(P, [<<131, 68, 0, 104, 4, 97, 6>>, np_raw:encode(np_raw:pid(P, 1)),
                                                     <<119, 0>>,
                                                  atom_ext(["name", integer_to_list(I)])]); % no payload
hostile_packet(8, _, P, _) -> np_raw:send_packet(P, [<<131, 68, 0>>, np_raw:encode({6, np_raw:pid(P, 1), '',
    net_kernel}), binary:copy(<<108, 0, 0, 0, 1>>, 100000)]);
hostile_packet(9, _, P, _) -> np_raw:send_packet(P, <<131, 70, 5:64, 2:64, "stray">>);
hostile_packet(10, I, P, _) -> % an unfinished message of 60 kB, and a monitor and a link that stay
    np_raw:send_packet(P, [<<131, 69, I:64, 9:64, 0>>, np_raw:encode({6, np_raw:pid(P, 1), '', net_kernel}),
                           <<109, 5000000:32>>, binary:copy(<<1>>, 60000)]),
    np_raw:send_signal(P, {19, np_raw:pid(P, 2), ?COUNTER_SERVER, np_raw:ref(P, I)});
%% atoms nobody has seen, in messages to names nobody has, and to pids of an old creation
hostile_packet(11, I, P, Node) ->
    [np_raw:send_packet(P, [<<131, 68, 0, 104, 4, 97, 6>>, np_raw:encode(np_raw:pid(P, 1)), <<119, 0>>,
                            atom_ext(["name", integer_to_list(I), $_, integer_to_list(K)]),
                            atom_ext(["atom", integer_to_list(I)])]) || K <- [1, 2, 3]],
    np_raw:send_signal(P, {1, np_raw:pid(P, 1), np_raw:pid(atom_to_binary(Node), I, 0, 3)}),
    ok = np_raw:sync(P).

atom_ext(Text) -> B = iolist_to_binary(Text), <<119, (byte_size(B)), B/binary>>.
