%% A peer made by hand over a bare socket: the handshake in both roles, step by step, and packets as one wishes them,
%% right or wrong. A raw peer is a map: socket, name (binary), creation, flags (its own), agreed (flags of both), mode
%% (header | pass), cookie. Its pids and references are made by pid/3 and ref/3.
-module(np_raw).
-export([port/1, open/1, connect/2, connect/3, start/2, close/1, name_message/3, challenge_reply/2]).
-export([listen/1, listen/2, accept/2, accept_handshake/2, recv_name/1, unlisten/1]).
-export([send_handshake/2, recv_handshake/1, recv_handshake/2, digest/2]).
-export([send_packet/2, send_bytes/2, send_signal/2, send_signal/3, signal/2, signal/3, frame/1, fragments/4]).
-export([recv_packet/2, recv_signal/2, recv_match/3, is_closed/2, closes_within/2, sync/1, call/3]).
-export([pid/2, pid/3, pid/4, ref/2, ref/3, default_flags/0, mandatory/0, encode/1]).

-define(FLAGS, 16#D07DF5FBC).
-define(HEADER_FLAGS, (16#800000 bor 16#2000)). % FRAGMENTS, DIST_HDR_ATOM_CACHE
-define(M25_DIGEST, 16#4000000).
-define(M25, 16#1070F94).

default_flags() -> ?FLAGS.

%% The eleven flags that OTP 25 demands.
mandatory() -> [16#4, 16#10, 16#80, 16#100, 16#200, 16#400, 16#800, 16#10000, 16#20000, 16#40000, 16#1000000].

%% ---- connecting ----

port(Node) ->
    [Alive, Host] = string:split(atom_to_list(Node), "@"),
    {ok, Address} = inet:getaddr(Host, inet),
    {ok, S} = gen_tcp:connect(Address, list_to_integer(os:getenv("ERL_EPMD_PORT")), [binary, {active, false}], 2000),
    ok = gen_tcp:send(S, <<(length(Alive) + 1):16, 122, (list_to_binary(Alive))/binary>>),
    {ok, <<119, 0>>} = gen_tcp:recv(S, 2, 2000),
    {ok, <<Port:16, _Type, _Proto, _High:16, _Low:16, _/binary>>} = gen_tcp:recv(S, 0, 2000),
    gen_tcp:close(S),
    Port.

open(Port) when is_integer(Port) ->
    {ok, S} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}], 3000),
    S;
open(Node) -> open(port(Node)).

%% A whole handshake as the dialling side: a raw peer. Options: name, cookie, flags, creation, alive (<<"true">>).
connect(To, Options) -> connect(To, Options, <<>>).

%% More: bytes that follow the challenge reply in the same segment.
connect(To, Options, More) ->
    S = open(To),
    Peer = start(S, Options),
    #{name := Name, flags := Flags, cookie := Cookie} = Peer,
    send_handshake(S, name_message(Flags, maps:get(creation, Peer), Name)),
    case recv_handshake(S) of
        <<"sok">> -> ok;
        <<"sok_simultaneous">> -> ok;
        <<"salive">> -> send_handshake(S, ["s", maps:get(alive, Options, <<"true">>)]);
        Other -> error({status, Other})
    end,
    <<"N", TheirFlags:64, Challenge:32, Creation:32, Len:16, Node:Len/binary, _/binary>> = recv_handshake(S),
    Mine = rand:uniform(16#ffffffff),
    Reply = challenge_reply(Mine, digest(Cookie, Challenge)),
    ok = gen_tcp:send(S, [<<(iolist_size(Reply)):16>>, Reply, More]),
    Expected = digest(Cookie, Mine),
    <<"a", Expected:16/binary>> = recv_handshake(S),
    agreed(Peer#{node => binary_to_atom(Node), node_creation => Creation}, TheirFlags).

start(S, Options) ->
    #{socket => S, cookie => maps:get(cookie, Options, np_node:cookie()), flags => maps:get(flags, Options, ?FLAGS),
      creation => maps:get(creation, Options, 4 + rand:uniform(1000000000)),
      name => iolist_to_binary(maps:get(name, Options, np_node:unique("raw") ++ "@127.0.0.1"))}.

agreed(#{flags := Mine} = Peer, Theirs) ->
    Agreed = expand(Mine) band expand(Theirs),
    Peer#{agreed => Agreed, their_flags => Theirs, mode => case Agreed band ?HEADER_FLAGS of 0 -> pass;
          _ -> header end}.

expand(Flags) when Flags band ?M25_DIGEST =/= 0 -> Flags bor ?M25;
expand(Flags) -> Flags.

name_message(Flags, Creation, Name) -> <<"N", Flags:64, Creation:32, (byte_size(Name)):16, Name/binary>>.

challenge_reply(Challenge, Digest) -> <<"r", Challenge:32, Digest/binary>>.

digest(Cookie, Challenge) -> erlang:md5([Cookie, integer_to_list(Challenge)]).

send_handshake(S, Message) -> gen_tcp:send(S, [<<(iolist_size(Message)):16>>, Message]).

recv_handshake(S) -> recv_handshake(S, 3000).

recv_handshake(S, Ms) ->
    case gen_tcp:recv(S, 2, Ms) of
        {ok, <<0:16>>} -> <<>>;
        {ok, <<Len:16>>} -> {ok, Message} = gen_tcp:recv(S, Len, Ms), Message;
        {error, Reason} -> Reason
    end.

close(#{socket := S}) -> gen_tcp:close(S);
close(S) -> gen_tcp:close(S).

%% ---- being dialled ----

%% A name in epmd and a socket behind it: {Listener, Port, EpmdSocket}.
listen(Name) -> listen(Name, os:getenv("ERL_EPMD_PORT")).

listen(Name, EpmdPort) ->
    {ok, L} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {nodelay, true}, {backlog, 50}]),
    {ok, Port} = inet:port(L),
    [Alive, _] = string:split(Name, "@"),
    {ok, E} = gen_tcp:connect({127, 0, 0, 1}, list_to_integer(EpmdPort), [binary, {active, false}], 2000),
    Request = <<120, Port:16, 72, 0, 6:16, 6:16, (length(Alive)):16, (list_to_binary(Alive))/binary, 0:16>>,
    ok = gen_tcp:send(E, [<<(byte_size(Request)):16>>, Request]),
    {ok, <<118, 0, _:32>>} = gen_tcp:recv(E, 6, 2000),
    {L, Port, E}.

unlisten({L, _, E}) -> gen_tcp:close(L), gen_tcp:close(E).

accept({L, _, _}, Ms) ->
    case gen_tcp:accept(L, Ms) of {ok, S} -> S; {error, Reason} -> Reason end.

recv_name(S) ->
    case recv_handshake(S) of
        <<"N", Flags:64, Creation:32, Len:16, Name:Len/binary, _/binary>> -> {Flags, Creation, Name};
        Other -> Other
    end.

%% The accepting side of a whole handshake on an accepted socket.
accept_handshake(S, Options) ->
    Peer = #{cookie := Cookie, flags := Flags, name := Name} = start(S, Options),
    {TheirFlags, Creation, Node} = recv_name(S),
    send_handshake(S, "sok"),
    Mine = rand:uniform(16#ffffffff),
    send_handshake(S, <<"N", Flags:64, Mine:32, (maps:get(creation, Peer)):32, (byte_size(Name)):16, Name/binary>>),
    <<"r", Challenge:32, Digest:16/binary>> = recv_handshake(S),
    Digest = digest(Cookie, Mine),
    send_handshake(S, ["a", digest(Cookie, Challenge)]),
    agreed(Peer#{node => binary_to_atom(Node), node_creation => Creation}, TheirFlags).

%% ---- packets ----

frame(Body) -> [<<(iolist_size(Body)):32>>, Body].

send_packet(#{socket := S}, Body) -> gen_tcp:send(S, frame(Body)).

send_bytes(#{socket := S}, Bytes) -> gen_tcp:send(S, Bytes).

encode(Term) -> <<131, Bytes/binary>> = term_to_binary(Term), Bytes.

signal(Peer, Control) -> signal_of(Peer, [Control]).
signal(Peer, Control, Message) -> signal_of(Peer, [Control, Message]).

signal_of(#{mode := header}, Terms) -> [<<131, 68, 0>> | [encode(T) || T <- Terms]];
signal_of(#{mode := pass}, Terms) -> [112 | [[131, encode(T)] || T <- Terms]].

send_signal(Peer, Control) -> send_packet(Peer, signal(Peer, Control)).
send_signal(Peer, Control, Message) -> send_packet(Peer, signal(Peer, Control, Message)).

%% The packets of one message cut into N slices of its payload.
fragments(SeqId, Control, Message, N) ->
    Payload = encode(Message),
    Size = max(1, byte_size(Payload) div N),
    [First | Rest] = slices(Payload, Size, N),
    [[<<131, 69, SeqId:64, N:64, 0>>, encode(Control), First]
     | [[<<131, 70, SeqId:64, Id:64>>, Slice] || {Id, Slice} <- lists:zip(lists:seq(N - 1, 1, -1), Rest)]].

slices(Bytes, _, 1) -> [Bytes];
slices(Bytes, Size, N) ->
    <<Slice:Size/binary, Rest/binary>> = Bytes,
    [Slice | slices(Rest, Size, N - 1)].

recv_packet(#{socket := S}, Ms) ->
    case gen_tcp:recv(S, 4, Ms) of
        {ok, <<0:32>>} -> tick;
        {ok, <<Len:32>>} -> {ok, Body} = gen_tcp:recv(S, Len, Ms), Body;
        {error, Reason} -> {error, Reason}
    end.

%% {Control} or {Control, Message}, fragments put together; ticks passed over; {error, Reason}.
recv_signal(Peer, Ms) -> recv_signal(Peer, Ms, #{}).

recv_signal(#{mode := Mode} = Peer, Ms, Parts) ->
    case recv_packet(Peer, Ms) of
        tick -> recv_signal(Peer, Ms, Parts);
        {error, Reason} -> {error, Reason};
        <<131, 68, 0, Terms/binary>> when Mode =:= header -> terms(Terms);
        <<131, 69, Seq:64, 1:64, 0, Terms/binary>> when Mode =:= header, Seq > 0 -> terms(Terms);
        <<131, 69, Seq:64, _:64, 0, Part/binary>> when Mode =:= header,
        Seq > 0 -> recv_signal(Peer, Ms, Parts#{Seq => [Part]});
        <<131, 70, Seq:64, 1:64, Part/binary>> when Mode =:= header ->
            terms(iolist_to_binary(lists:reverse([Part | maps:get(Seq, Parts)])));
        <<131, 70, Seq:64, _:64, Part/binary>> when Mode =:= header ->
            recv_signal(Peer, Ms, maps:update_with(Seq, fun(L) -> [Part | L] end, Parts));
        <<112, 131, Rest/binary>> when Mode =:= pass ->
            {Control, Used} = binary_to_term(<<131, Rest/binary>>, [used]),
            case Rest of
                <<_:(Used - 1)/binary>> -> {Control};
                <<_:(Used - 1)/binary, Message/binary>> -> {Control, binary_to_term(Message)}
            end
    end.

terms(Bytes) ->
    {Control, Used} = binary_to_term(<<131, Bytes/binary>>, [used]),
    case Bytes of
        <<_:(Used - 1)/binary>> -> {Control};
        <<_:(Used - 1)/binary, Message/binary>> -> {Control, binary_to_term(<<131, Message/binary>>)}
    end.

%% The first signal that Fun accepts (returns other than false); all others are passed over: the node asks its peers
%% for things of its own accord.
recv_match(Peer, Ms, Fun) ->
    Deadline = erlang:monotonic_time(millisecond) + Ms,
    recv_match_until(Peer, Deadline, Fun).

recv_match_until(Peer, Deadline, Fun) ->
    case recv_signal(Peer, max(1, Deadline - erlang:monotonic_time(millisecond))) of
        {error, Reason} -> {error, Reason};
        Signal ->
            case try Fun(Signal) catch error:function_clause -> false end of
                false -> recv_match_until(Peer, Deadline, Fun);
                Result -> Result
            end
    end.

%% Has the other side closed, within Ms? What still arrives is read and dropped.
is_closed(#{socket := S}, Ms) -> is_closed(S, Ms);
is_closed(S, Ms) -> closes_within(S, Ms) =/= open.

%% Milliseconds until the other side closed, or open.
closes_within(#{socket := S}, Ms) -> closes_within(S, Ms);
closes_within(S, Ms) ->
    Begin = erlang:monotonic_time(millisecond),
    closes_until(S, Begin, Begin + Ms).

closes_until(S, Begin, Deadline) ->
    Now = erlang:monotonic_time(millisecond),
    case gen_tcp:recv(S, 0, max(0, Deadline - Now)) of
        {error, timeout} -> open;
        {error, _} -> erlang:monotonic_time(millisecond) - Begin;
        {ok, _} when Now >= Deadline -> open;
        {ok, _} -> closes_until(S, Begin, Deadline)
    end.

%% A call to a registered name of the node, as gen does it. Everything sent before has been taken when it returns.
call(#{agreed := Agreed} = Peer, Name, Request) ->
    Me = pid(Peer, 999999),
    Tag = ref(Peer, rand:uniform(16#3ffff)),
    true = is_integer(Agreed),
    send_signal(Peer, {6, Me, '', Name}, {'$gen_call', {Me, Tag}, Request}),
    recv_match(Peer, 3000, fun({_, {T, Reply}}) when T =:= Tag -> {reply, Reply} end).

%% Is the node still serving this connection?
sync(#{node := Node} = Peer) ->
    case call(Peer, net_kernel, {is_auth, Node}) of {reply, yes} -> ok; Other -> Other end.

%% ---- ids ----

pid(Peer, Num) -> pid(Peer, Num, 0).
pid(#{name := Name, creation := Creation}, Num, Serial) -> pid(Name, Num, Serial, Creation).

pid(Name, Num, Serial, Creation) ->
    binary_to_term(<<131, 88, 119, (byte_size(Name)), Name/binary, Num:32, Serial:32, Creation:32>>).

ref(#{name := Name, creation := Creation}, Id) -> ref(Name, Creation, [Id, 2, 3]).

ref(Name, Creation, Ids) ->
    binary_to_term(<<131, 90, (length(Ids)):16, 119, (byte_size(Name)), Name/binary, Creation:32,
                     (<< <<I:32>> || I <- Ids >>)/binary>>).
