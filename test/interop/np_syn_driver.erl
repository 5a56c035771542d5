%% One who keeps a BEAM node's syn busy: a process that registers, updates, unregisters, joins, leaves and kills at
%% random, with processes of its own node and with native workers of its own, and calls these all the time.
%%
%% Modes: all; cut: the native nodes are cut off from all BEAM nodes, so nothing that needs them, but shared names are
%% taken on this side; apart: some nodes do not see some others, so only what nobody else contends for; none.
%%
%% What it does must not run into what syn cannot do by itself:
%% - An entry that the requester writes into its table can come behind the news that it is gone. So each name but the
%%   shared ones has one driver, who waits for the answer before it goes on; and what can be killed by a conflict at any
%%   time (holders of shared names) is registered by its own node only.
%% - Where A and B do not see each other, but both see C, a name of A's that B takes and gives back is gone at C, for
%%   ever. So names of local processes, of native ones and shared ones are kept apart.
-module(np_syn_driver).
-export([start/3, mode/1, report/0]).

-define(NAMES, 40).
-define(SHARED, 30).
-define(GROUPS, 5).
-define(PIDS, 8).

%% So many on this node.
start(Count, Natives, Seed) ->
    [register(name(I), spawn(fun() -> init(I, Natives, {Seed, erlang:phash2(node()), I}) end))
        || I <- lists:seq(1, Count)],
    persistent_term:put(?MODULE, Count),
    ok.

name(I) -> list_to_atom("np_syn_driver_" ++ integer_to_list(I)).

all(Message) ->
    [begin
         Ref = monitor(process, name(I)),
         name(I) ! {self(), Ref, Message},
         receive {Ref, Reply} -> demonitor(Ref, [flush]), Reply; {'DOWN', Ref, _, _, Why} -> exit({driver, Why}) end
     end || I <- lists:seq(1, persistent_term:get(?MODULE))].

%% Returns when nothing of another mode is under way.
mode(Mode) -> all({mode, Mode}), ok.

%% {Operations, Calls, [Odd]}
report() ->
    {Ops, Calls, Odd} = lists:unzip3(all(report)),
    {lists:sum(Ops), lists:sum(Calls), lists:append(Odd)}.

%% ---- ----

init(I, Natives, {A, B, C}) ->
    rand:seed(exsss, {A, B, C}),
    loop(#{id => {node(), I}, natives => Natives, mode => none, own => #{}, shared => #{}, since => #{}, ops => 0,
           calls => 0, odd => []}).

loop(#{mode := Mode} = S) ->
    receive
        {From, Ref, {mode, New}} -> From ! {Ref, ok}, loop(S#{mode := New});
        {From, Ref, report} -> From ! {Ref, {maps:get(ops, S), maps:get(calls, S), maps:get(odd, S)}}, loop(S)
    after case Mode of none -> infinity; _ -> rand:uniform(3) - 1 end -> loop(step(S))
    end.

step(#{mode := Mode} = S0) ->
    S = staff(S0),
    try operation(Mode, S) of
        #{} = New -> maps:update_with(ops, fun(N) -> N + 1 end, New)
    catch
        Class:Reason -> odd({Class, Reason}, S)
    end.

%% While the node is cut off, anything may fail.
odd(_, #{mode := Mode} = S) when Mode =/= all -> S;
odd(What, #{odd := Odd} = S) when length(Odd) < 5 -> S#{odd := [What | Odd]};
odd(_, S) -> S.

%% Those that have ended are replaced: half local, half native.
staff(#{mode := Mode, natives := Natives, own := Own, shared := Shared} = S) ->
    S#{own := staffed(Mode, Own, [local, local, local, local | lists:append(lists:duplicate(2, Natives))]),
       shared := staffed(Mode, Shared, [local | Natives])}.

staffed(Mode, Pids, Wanted) ->
    Keys = lists:zip(lists:seq(1, length(Wanted)), Wanted),
    lists:foldl(fun({I, Where}, Acc) ->
        case Acc of
            #{I := P} when node(P) =:= node() ->
                case is_process_alive(P) of true -> Acc; false -> Acc#{I := hire(local)} end;
            #{I := _} -> Acc;
            _ when Where =/= local, Mode =/= all -> Acc;
            _ -> Acc#{I => hire(Where)}
        end
    end, Pids, Keys).

hire(local) -> spawn(fun() -> receive never -> ok end end);
hire(Node) -> np_node:worker(Node, np_syn_cluster:pool()).

some(List) -> lists:nth(rand:uniform(length(List)), List).

own(#{mode := Mode, own := Own}) -> some([P || P <- maps:values(Own), Mode =:= all orelse node(P) =:= node()]).

scope() -> some([users, users, other]).

syn(F, Args) -> erlang:apply(np_syn:module(), F, Args).

meta() ->
    N = rand:uniform(1000),
    some([x, N, {N, <<"meta">>}, #{at => N}, [{node, node()}]]).

%% Is it worth asking, in this mode?
near(all, _) -> true;
near(_, Pid) -> node(Pid) =:= node().

operation(Mode, S) ->
    case rand:uniform(100) of
        N when N =< 25 -> register_one(S);
        N when N =< 35 -> unregister_one(Mode, S);
        N when N =< 42 -> update_one(Mode, S);
        N when N =< 52 -> join_one(S);
        N when N =< 60 -> leave_one(Mode, S);
        N when N =< 68, Mode =/= apart -> contend(Mode, S);
        N when N =< 70, Mode =/= apart -> let_go(Mode, S);
        N when N =< 76, Mode =:= all -> by_itself(S);
        N when N =< 80 -> kill_one(S);
        _ when Mode =:= all -> call_one(S);
        _ -> S
    end.

expect(Result, Allowed, S) ->
    case lists:member(Result, Allowed) of true -> S; false -> odd({result, Result}, S) end.

name_of(#{id := Id}, Pid) ->
    {Id, case node(Pid) =:= node() of true -> local; false -> native end, rand:uniform(?NAMES)}.

register_one(S) ->
    Pid = own(S),
    expect(syn(register, [scope(), name_of(S, Pid), Pid, meta()]), [ok, {error, taken}, {error, not_alive}], S).

unregister_one(Mode, S) ->
    [Scope, Name] = [scope(), name_of(S, own(S))],
    case syn(lookup, [Scope, Name]) of
        {Pid, _} ->
            case near(Mode, Pid) of
                true -> expect(syn(unregister, [Scope, Name]), [ok, {error, undefined}, {error, race_condition}], S);
                false -> S
            end;
        undefined -> S
    end.

update_one(Mode, S) ->
    [Scope, Name, New] = [scope(), name_of(S, own(S)), meta()],
    case syn(lookup, [Scope, Name]) of
        {Pid, _} ->
            Fun = fun(P, Old) when P =:= Pid -> {New, erlang:phash2(Old)} end,
            case near(Mode, Pid) andalso syn(update_registry, [Scope, Name, Fun]) of
                false -> S;
                {ok, {Pid, _}} -> S;
                Other -> expect(Other, [{error, undefined}, {error, not_alive}], S)
            end;
        undefined -> S
    end.

group(#{id := Id}) -> some([{Id, rand:uniform(?GROUPS)}, {shared, rand:uniform(?GROUPS)}]).

join_one(S) -> expect(syn(join, [scope(), group(S), own(S), meta()]), [ok, {error, not_alive}], S).

leave_one(Mode, S) ->
    Pid = own(S),
    case near(Mode, Pid) of
        true -> expect(syn(leave, [scope(), group(S), Pid]), [ok, {error, not_in_group}], S);
        false -> S
    end.

%% A name that all want.
contend(Mode, #{shared := Shared, since := Since} = S) ->
    I = rand:uniform(?SHARED),
    case some(maps:values(Shared)) of
        Pid when node(Pid) =:= node() ->
            R = syn(register, [users, {shared, I}, Pid, meta()]),
            expect(R, [ok, {error, taken}, {error, not_alive}], S#{since := Since#{I => now_ms()}});
        _ when Mode =/= all -> S;
        Pid ->
            _ = native(Pid, {register, users, {shared, I}, meta()}),
            S#{since := Since#{I => now_ms()}}
    end.

now_ms() -> erlang:monotonic_time(millisecond).

%% Not at once: syn 3.3.0 does not announce who lost a conflict, and a winner that goes before all have heard of it
%% leaves the loser's name behind.
let_go(Mode, #{shared := Shared, since := Since} = S) ->
    I = rand:uniform(?SHARED),
    Long = now_ms() - maps:get(I, Since, now_ms()) > 500,
    case Long andalso syn(lookup, [users, {shared, I}]) of
        {Pid, _} ->
            case {lists:member(Pid, maps:values(Shared)), node(Pid) =:= node()} of
                {true, true} ->
                    expect(syn(unregister, [users, {shared, I}]), [ok, {error, undefined}, {error, race_condition}], S);
                {true, false} when Mode =:= all -> _ = native(Pid, {unregister, users, {shared, I}}), S;
                _ -> S
            end;
        _ -> S
    end.

%% A native worker does it itself.
by_itself(#{own := Own} = S) ->
    Name = {itself, name_of(S, self())},
    case [P || P <- maps:values(Own), node(P) =/= node()] of
        [] -> S;
        Natives ->
            _ = native(some(Natives), some([{register, scope(), Name, meta()}, {register, scope(), Name, meta()},
                                             {unregister, scope(), Name}, {join, scope(), group(S), meta()},
                                             {leave, scope(), group(S)}])),
            S
    end.

native(Pid, Request) ->
    try gen_server:call(Pid, Request, 10000)
    catch exit:{Why, _} when Why =:= noproc; Why =:= killed; Why =:= normal -> gone;
          exit:{{syn_resolve_kill, _, _}, _} -> gone
    end.

kill_one(#{mode := Mode, own := Own, shared := Shared} = S) ->
    {Key, Map} = some([{own, Own} | [{shared, Shared} || Mode =/= apart]]),
    case [{I, P} || {I, P} <- maps:to_list(Map), near(Mode, P)] of
        [] -> S;
        Some ->
            {I, P} = some(Some),
            exit(P, some([kill, {shutdown, random}])),
            S#{Key := maps:remove(I, Map)}
    end.

%% The load: every call is answered, or the worker has ended.
call_one(#{own := Own, shared := Shared, calls := Calls} = S) ->
    Mine = [{Key, I, P} || {Key, Map} <- [{own, Own}, {shared, Shared}], {I, P} <- maps:to_list(Map)],
    case [Each || {_, _, P} = Each <- Mine, node(P) =/= node()] of
        [] -> S;
        Some ->
            {Key, I, P} = some(Some),
            case native(P, increment) of
                gone -> S#{Key := maps:remove(I, maps:get(Key, S))};
                N when is_integer(N) -> S#{calls := Calls + 1}
            end
    end.
