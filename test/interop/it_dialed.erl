%% The handshake with the node as the dialling side: a listener made by hand answers it, rightly and wrongly; and both
%% dialling at once, in both orders of their names.
-module(it_dialed).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [{C, #{native => true, slow => true, own_node => true, timeout => 45000}} || C <- [
        dials_its_seed, dials_again_after_refusal, wrong_digest_is_refused, wrong_name_is_refused,
        wrong_flags_are_refused, odd_statuses,
        stalls_end_after_seven_seconds, ok_simultaneous_goes_on, nok_waits_for_the_peer, alive_status_is_answered,
        both_dial_native_is_lower, both_dial_native_is_higher, dials_again_soon_after_the_peer_returns,
        seed_without_listener_is_retried,
        endless_failures_stay_calm]].

%% A listener in epmd by this name and a native node that has it as its seed.
setup(Name) -> setup(Name, #{}).

setup(Name, Options) ->
    L = np_raw:listen(Name),
    N = np_node:native(Options#{connect => [list_to_atom(Name)]}),
    {L, N}.

unique(Prefix) -> np_node:unique(Prefix) ++ "@127.0.0.1".

accept(L) -> case np_raw:accept(L, 5000) of S when is_port(S) -> S; Other -> error({no_dial, Other}) end.

dials_its_seed() ->
    Name = unique("m"),
    {L, #{node := Node}} = setup(Name),
    S = accept(L),
    P = np_raw:accept_handshake(S, #{name => Name}),
    ?assertEqual(Node, maps:get(node, P)),
    ?assertEqual(16#D07DF5FBC, maps:get(their_flags, P)),
    ?assert(maps:get(node_creation, P) >= 4),
    ?assertEqual(ok, np_raw:sync(P)).

dials_again_after_refusal() ->
    Name = unique("m"),
    {L, _} = setup(Name),
    Begin = erlang:monotonic_time(millisecond),
    [begin S = accept(L), {_, _, _} = np_raw:recv_name(S), np_raw:send_handshake(S, "snot_allowed"),
     gen_tcp:close(S) end || _ <- [1, 2, 3]],
    P = np_raw:accept_handshake(accept(L), #{name => Name}),
    ?assertEqual(ok, np_raw:sync(P)),
    {note, io_lib:format("three refusals and a connection in ~b ms", [erlang:monotonic_time(millisecond) - Begin])}.

%% The dialogue of the accepting side up to and with the challenge; the node's reply to it.
challenged(S, Name, Flags) ->
    {_, _, _} = np_raw:recv_name(S),
    np_raw:send_handshake(S, "sok"),
    np_raw:send_handshake(S, <<"N", Flags:64, 99:32, 5:32, (length(Name)):16, (list_to_binary(Name))/binary>>),
    np_raw:recv_handshake(S).

wrong_digest_is_refused() ->
    Name = unique("m"),
    {L, N} = setup(Name),
    Mark = np_node:mark(N),
    S = accept(L),
    <<"r", _:32, _:16/binary>> = challenged(S, Name, np_raw:default_flags()),
    np_raw:send_handshake(S, ["a", <<0:128>>]),
    ?assert(np_raw:is_closed(S, 1000)),
    np_node:logged(N, Mark, [Name]),
    P = np_raw:accept_handshake(accept(L), #{name => Name}),
    ?assertEqual(ok, np_raw:sync(P)).

wrong_name_is_refused() ->
    Name = unique("m"),
    {L, N} = setup(Name),
    Mark = np_node:mark(N),
    S = accept(L),
    ?assert(lists:member(challenged(S, unique("other"), np_raw:default_flags()), [closed, econnreset])),
    np_node:logged(N, Mark, [Name]).

wrong_flags_are_refused() ->
    Name = unique("m"),
    {L, _} = setup(Name),
    [begin S = accept(L), ?assert(lists:member(challenged(S, Name, Flags), [closed, econnreset]), Flags) end
     || Flags <- [0, np_raw:default_flags() band bnot 16#4010000]],
    P = np_raw:accept_handshake(accept(L), #{name => Name}),
    ?assertEqual(ok, np_raw:sync(P)).

odd_statuses() ->
    Name = unique("m"),
    {L, _} = setup(Name),
    [begin
         S = accept(L),
         {_, _, _} = np_raw:recv_name(S),
         np_raw:send_handshake(S, Status),
         ?assert(np_raw:is_closed(S, 2000), Status)
     end || Status <- ["sbogus", "s", "", "xok", <<"snamed:", 3:16, "a@b", 5:32>>, binary:copy(<<"s">>, 60000),
                       <<255, 0>>]],
    P = np_raw:accept_handshake(accept(L), #{name => Name}),
    ?assertEqual(ok, np_raw:sync(P)).

stalls_end_after_seven_seconds() ->
    Steps = [{no_status, fun(S, _) -> {_, _, _} = np_raw:recv_name(S), ok end},
             {half_a_status, fun(S, _) -> {_, _, _} = np_raw:recv_name(S), gen_tcp:send(S, <<3:16, "s">>) end},
             {no_challenge, fun(S, _) -> {_, _, _} = np_raw:recv_name(S), np_raw:send_handshake(S, "sok") end},
             {half_a_challenge, fun(S, _) -> {_, _, _} = np_raw:recv_name(S), np_raw:send_handshake(S, "sok"),
              gen_tcp:send(S, <<60:16, "N", 0:64>>) end},
             {no_ack, fun(S, Name) -> <<"r", _/binary>> = challenged(S, Name, np_raw:default_flags()) end},
             {half_an_ack, fun(S, Name) -> <<"r", _/binary>> = challenged(S, Name, np_raw:default_flags()),
              gen_tcp:send(S, <<17:16, "a", 1>>) end}],
    Self = self(),
    Names = [{unique("m"), Step} || Step <- Steps],
    Listeners = [{np_raw:listen(Name), Name, Step} || {Name, Step} <- Names],
    _ = np_node:native(#{connect => [list_to_atom(Name) || {Name, _} <- Names]}),
    [begin
         spawn_link(fun() ->
             receive go -> ok end,
             S = accept(L),
             _ = Do(S, Name),
             Self ! {What, np_raw:closes_within(S, 12000)}
         end) ! go
     end || {L, Name, {What, Do}} <- Listeners],
    Times = [receive {What, Ms} -> {What, Ms} after 20000 -> {What, never} end || {What, _} <- Steps],
    [?assert(is_integer(Ms) andalso Ms > 5500 andalso Ms < 9000, Times) || {_, Ms} <- Times],
    {note, io_lib:format("~w", [Times])}.

ok_simultaneous_goes_on() ->
    Name = unique("m"),
    {L, _} = setup(Name),
    S = accept(L),
    {_, _, _} = np_raw:recv_name(S),
    np_raw:send_handshake(S, "sok_simultaneous"),
    np_raw:send_handshake(S, <<"N", (np_raw:default_flags()):64, 99:32, 5:32, (length(Name)):16,
                               (list_to_binary(Name))/binary>>),
    <<"r", _:32, Digest:16/binary>> = np_raw:recv_handshake(S),
    ?assertEqual(np_raw:digest(np_node:cookie(), 99), Digest).

%% "nok": our own dial is on its way; the node gives its own up and takes ours.
nok_waits_for_the_peer() ->
    Name = unique("m"),
    {L, #{node := Node}} = setup(Name),
    S = accept(L),
    {_, _, _} = np_raw:recv_name(S),
    np_raw:send_handshake(S, "snok"),
    P = np_raw:connect(Node, #{name => Name}),
    ?assertEqual(ok, np_raw:sync(P)),
    ?assert(np_raw:is_closed(S, 8000)),
    ?assertEqual(ok, np_raw:sync(P)).

%% "alive": we believe to be connected, the node knows better; it must say "true" and go on.
alive_status_is_answered() ->
    Name = unique("m"),
    {L, _} = setup(Name),
    S = accept(L),
    {_, _, _} = np_raw:recv_name(S),
    np_raw:send_handshake(S, "salive"),
    case np_raw:recv_handshake(S) of
        <<"strue">> ->
            np_raw:send_handshake(S, <<"N", (np_raw:default_flags()):64, 99:32, 5:32, (length(Name)):16,
                                       (list_to_binary(Name))/binary>>),
            ?assertMatch(<<"r", _/binary>>, np_raw:recv_handshake(S));
        Other -> ?assertEqual(<<"strue">>, Other)
    end.

%% The node's dial is held at the status; ours comes in. The higher name's dial wins.
both_dial(Name, NativeName, Expected) ->
    L = np_raw:listen(Name),
    #{node := Node} = np_node:native(#{name => NativeName, connect => [list_to_atom(Name)]}),
    Held = accept(L),
    {_, _, _} = np_raw:recv_name(Held),
    S = np_raw:open(Node),
    np_raw:send_handshake(S, np_raw:name_message(np_raw:default_flags(), 5, list_to_binary(Name))),
    ?assertEqual(Expected, np_raw:recv_handshake(S)),
    {Held, S, Name, Node}.

both_dial_native_is_lower() ->
    {Held, S, _, _} = both_dial(unique("m"), np_node:unique("a"), <<"sok_simultaneous">>),
    ?assert(np_raw:is_closed(Held, 2000)),
    <<"N", _:64, Challenge:32, _/binary>> = np_raw:recv_handshake(S),
    np_raw:send_handshake(S, np_raw:challenge_reply(1, np_raw:digest(np_node:cookie(), Challenge))),
    ?assertMatch(<<"a", _/binary>>, np_raw:recv_handshake(S)).

both_dial_native_is_higher() ->
    {Held, S, Name, Node} = both_dial(unique("m"), np_node:unique("z"), <<"snok">>),
    np_raw:close(S),
    np_raw:send_handshake(Held, "sok_simultaneous"),
    np_raw:send_handshake(Held, <<"N", (np_raw:default_flags()):64, 99:32, 5:32, (length(Name)):16,
                                  (list_to_binary(Name))/binary>>),
    <<"r", Challenge:32, _/binary>> = np_raw:recv_handshake(Held),
    np_raw:send_handshake(Held, ["a", np_raw:digest(np_node:cookie(), Challenge)]),
    P = (np_raw:start(Held, #{name => Name, creation => 5}))#{mode => header, agreed => np_raw:default_flags(),
        node => Node},
    ?assertEqual(ok, np_raw:sync(P)).

dials_again_soon_after_the_peer_returns() ->
    Name = unique("m"),
    {L, _} = setup(Name),
    P = np_raw:accept_handshake(accept(L), #{name => Name}),
    np_raw:unlisten(L),
    np_raw:close(P),
    timer:sleep(4000), % by now it waits as long as it ever does
    L2 = np_raw:listen(Name),
    {Ms, S} = np_test:ms(fun() -> accept(L2) end),
    P2 = np_raw:accept_handshake(S, #{name => Name}),
    ?assertEqual(ok, np_raw:sync(P2)),
    ?assert(Ms < 2000, Ms),
    {note, io_lib:format("dialled ~b ms after its return", [round(Ms)])}.

seed_without_listener_is_retried() ->
    Name = unique("m"),
    _ = np_node:native(#{connect => [list_to_atom(Name)]}),
    timer:sleep(2500),
    L = np_raw:listen(Name),
    {Ms, S} = np_test:ms(fun() -> accept(L) end),
    ?assertMatch({_, _, _}, np_raw:recv_name(S)),
    ?assert(Ms < 2000, Ms),
    {note, io_lib:format("dialled after ~b ms", [round(Ms)])}.

%% Seeds that are down for long: few log lines, no dial more often than it should.
endless_failures_stay_calm() ->
    Name = unique("m"),
    {L, N} = setup(Name, #{}),
    Dials = count_dials(L, erlang:monotonic_time(millisecond) + 8000, 0),
    Lines = length(np_node:since(N, 0)),
    ?assert(Dials >= 5 andalso Dials =< 30, {dials, Dials}),
    ?assert(Lines < 40, {log_lines, Lines}),
    {note, io_lib:format("~b dials and ~b log lines in 8 s", [Dials, Lines])}.

count_dials(L, Deadline, N) ->
    case np_raw:accept(L, max(0, Deadline - erlang:monotonic_time(millisecond))) of
        S when is_port(S) -> gen_tcp:close(S), count_dials(L, Deadline, N + 1);
        timeout -> N
    end.
