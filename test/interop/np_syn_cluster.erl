%% Clusters of BEAM nodes with syn (np_syn.erl) and native nodes, all in the same scopes, and what can be seen of them.
-module(np_syn_cluster).
-export([flavours/0, flavour/1, scopes/0, pool/0, start/1, start/2, shared/1, end_shared/1]).
-export([beam/1, beam/2, native/2, native/3, worker/2, call/3, settled/1, settled/2, differences/1]).
-export([split/2, heal/2, cookie/0, call_syn/3]).
-include("np_test.hrl").

-define(POOL, 'Elixir.Sc').
-define(EQUAL_MS, 2000).

pool() -> ?POOL.
scopes() -> [users, other, 'Elixir.Sc.Registry'].
cookie() -> list_to_atom(np_node:cookie()).

%% [{Label, [Syn]}]: what runs on the BEAM nodes of a cluster. The doubles always, the real ones if they can be found.
flavours() ->
    [{"double-" ++ atom_to_list(V), lists:duplicate(3, {double, V})} || V <- ['3.4.1', '3.3.0']]
        ++ [{V, [S, S, S]} || {real, V, _} = S <- np_syn:found()].

%% One of different versions: of real ones if there are any.
flavour(mixed) ->
    case np_syn:found() of
        [] -> {"double-mixed", [{double, '3.4.1'}, {double, '3.3.0'}, {double, main}]};
        [One] -> {"mixed", [One, {double, '3.3.0'}, {double, main}]};
        [A, B | _] -> {"mixed", [B, A, B]}
    end.

%% ---- starting ----

%% Three BEAM nodes and two native ones: #{beams => [B], natives => [N]}.
start(Syns) -> start(Syns, 2).

start(Syns, Natives) ->
    Beams = [beam(Syn) || Syn <- Syns],
    [join_beam(B, lists:sublist(Beams, I - 1)) || {I, B} <- lists:zip(lists:seq(1, length(Beams)), Beams)],
    Cluster = lists:foldl(fun(I, #{natives := Ns} = C) -> C#{natives := Ns ++ [native(I, C)]} end,
                          #{beams => Beams, natives => []}, lists:seq(1, Natives)),
    settled(Cluster, 5000),
    Cluster.

beam(Syn) -> beam(Syn, #{}).

beam(Syn, Options) ->
    B = np_node:beam(Options),
    ok = np_node:on(B, fun() -> np_syn:start(Syn, scopes()) end),
    B#{syn => Syn}.

join_beam(B, Others) ->
    np_node:on(B, fun() -> [true = net_kernel:connect_node(N) || #{node := N} <- Others] end).

%% The Ith native node of a cluster: its seeds are the nodes that are there; it starts worker I.
native(I, Cluster) -> native(I, Cluster, #{}).

native(I, #{beams := Beams, natives := Natives}, Options) ->
    Plugin = filename:join(filename:dirname(os:getenv("NP_PROGRAM")), "test/workers/scopes.so"),
    filelib:is_file(Plugin) orelse error({build_with_tests, Plugin}),
    Seeds = maps:get(connect, Options, [Node || #{node := Node} <- Beams ++ Natives]),
    Lines = maps:get(node, Options, []),
    np_node:native(maps:merge(Options, #{
        connect => Seeds,
        node => ["scopes: [users, other]", "log_level: info" | Lines],
        pools => ["pools:\n  - name: ", atom_to_list(?POOL), "\n    worker: ", Plugin, "\n    start: [",
                  integer_to_list(I), "]\n"]})).

%% A cluster that the cases of a flavour share, started by the first of them.
shared({Label, Syns}) ->
    Key = {?MODULE, Label},
    case persistent_term:get(Key, none) of
        none ->
            Self = self(),
            {Keeper, Ref} = spawn_monitor(fun() -> Self ! {self(), start(Syns)}, receive never -> ok end end),
            receive
                {Keeper, Cluster} ->
                    demonitor(Ref, [flush]),
                    persistent_term:put(Key, Cluster#{keeper => Keeper}),
                    shared({Label, Syns});
                {'DOWN', Ref, process, Keeper, Why} ->
                    np_node:owner_gone(Keeper),
                    error({cluster, Why})
            end;
        #{natives := Natives} = Cluster ->
            [np_node:show_log(N) || N <- Natives],
            Cluster
    end.

%% The native nodes have to end well.
end_shared({Label, _}) ->
    case persistent_term:get({?MODULE, Label}, none) of
        none -> ok;
        #{natives := Natives, keeper := Keeper} ->
            persistent_term:erase({?MODULE, Label}),
            [np_node:kill(N, "TERM") || N <- Natives],
            Ends = [np_node:wait_exit(N, 10000) || N <- Natives],
            np_node:owner_gone(Keeper),
            exit(Keeper, kill),
            ?assertEqual([{exited, 0} || _ <- Natives], Ends)
    end.

%% ---- doing ----

%% A function of syn's API on a BEAM node.
call_syn(B, F, Args) -> np_node:on(B, fun() -> erlang:apply(np_syn:module(), F, Args) end).

%% A worker of its own on a native node; asked through a BEAM.
worker(B, #{node := Node}) -> np_node:on(B, fun() -> np_node:worker(Node, ?POOL) end).

call(B, Pid, Request) -> np_node:on(B, fun() -> gen_server:call(Pid, Request, 10000) end).

%% No connection between a BEAM and another node, and none comes up until heal/2.
split(B, #{node := Node}) ->
    np_node:on(B, fun() -> erlang:set_cookie(Node, wrong), erlang:disconnect_node(Node) end),
    np_test:eventually(fun() -> np_node:on(B, fun() -> not lists:member(Node, nodes(connected)) end) end).

heal(B, #{node := Node}) ->
    Cookie = cookie(),
    %% A native node that was refused for its cookie takes its time before it dials again: the BEAM does it.
    np_test:eventually(fun() -> np_node:on(B, fun() -> erlang:set_cookie(Node, Cookie), net_adm:ping(Node) end) =:= pong
    end).

%% ---- seeing: all nodes hold the same ----

settled(Cluster) -> settled(Cluster, ?EQUAL_MS).

%% Within so many ms; returns how many it took.
settled(Cluster, Ms) ->
    {Took, R} = np_test:ms(fun() -> np_test:eventually(fun() ->
        case differences(Cluster) of [] -> true; D -> {differ, [with_nodes(Each) || Each <- lists:sublist(D, 8)]} end
    end, Ms) end),
    ok =:= R orelse error(R),
    round(Took).

%% For the eye: each pid with its node.
with_nodes(P) when is_pid(P) -> {P, node(P)};
with_nodes([H | T]) -> [with_nodes(H) | with_nodes(T)];
with_nodes(T) when is_tuple(T) -> list_to_tuple(with_nodes(tuple_to_list(T)));
with_nodes(Other) -> Other.

%% What differs between the first BEAM node and the others, and what of its entries belongs to no live process.
differences(#{beams := [B1 | Others] = Beams, natives := Natives}) ->
    Views = views(B1),
    [{maps:get(node, B), Scope, {more, V -- V1, less, V1 -- V}}
        || B <- Others, {Scope, Kind, V1} <- Views, {S, K, V} <- views(B), S =:= Scope, K =:= Kind, V =/= V1]
    ++ lists:append([native_differences(B1, N, Views) || N <- Natives])
    ++ dead(Beams, Natives, lists:append([Views | [views(B) || B <- Others]])).

views(B) -> np_node:on(B, fun() -> lists:append([begin
        {Names, Groups} = np_syn:view(S),
        [{S, registry, Names}, {S, pg, Groups}]
    end || S <- scopes()]) end).

%% Of a native node: the number of entries, and what each one of them is; asked through B1.
native_differences(B1, #{node := Node}, Views) ->
    np_node:on(B1, fun() -> lists:append([native_difference(Node, V) || V <- Views]) end).

native_difference(Node, {Scope, registry, Names}) ->
    Answers = many(Node, lookup, Scope, [Name || {Name, _, _} <- Names]),
    count(Node, "syn_registry_", Scope, length(Names))
        ++ [{Node, Scope, Name, Answer, {Pid, Meta}}
            || {{Name, Pid, Meta}, Answer} <- lists:zip(Names, Answers), Answer =/= {Pid, Meta}];
native_difference(Node, {Scope, pg, Members}) ->
    Groups = lists:usort([G || {G, _, _} <- Members]),
    Answers = many(Node, members, Scope, Groups),
    count(Node, "syn_pg_", Scope, length(Members))
        ++ [{Node, Scope, Group, lists:sort(Answer)}
            || {Group, Answer} <- lists:zip(Groups, Answers),
               lists:sort(Answer) =/= lists:sort([{P, M} || {G, P, M} <- Members, G =:= Group])].

count(Node, Prefix, Scope, Expected) ->
    Process = list_to_atom(Prefix ++ atom_to_list(Scope)),
    case sys:get_state({Process, Node}, 5000) of
        #{entries := Expected} -> [];
        #{entries := Other} -> [{Node, Process, Other, entries, not_as, Expected}]
    end.

many(_, _, _, []) -> [];
many(Node, Function, Scope, Terms) ->
    {Now, Later} = lists:split(min(500, length(Terms)), Terms),
    Requests = [erpc:send_request(Node, native_pool, Function, [Scope, T]) || T <- Now],
    [erpc:receive_response(R, 5000) || R <- Requests] ++ many(Node, Function, Scope, Later).

%% An entry belongs to a process that lives, as its own node says.
dead(Beams, Natives, Views) ->
    Pids = lists:usort([P || {_, _, Rows} <- Views, {_, P, _} <- Rows]),
    Live = fun(Ps) -> [P || P <- Ps, is_process_alive(P)] end,
    Alive = lists:append(
        [begin
             Own = [P || P <- Pids, node(P) =:= Node],
             np_node:on(B, fun() -> Live(Own) end)
         end || #{node := Node} = B <- Beams]
        ++ [begin
                Own = [P || P <- Pids, node(P) =:= Node],
                np_node:on(hd(Beams), fun() -> alive_at(Node, Own) end)
            end || #{node := Node} <- Natives]),
    [{dead, P} || P <- Pids -- Alive].

alive_at(Node, Pids) ->
    Requests = [{P, erpc:send_request(Node, erlang, is_process_alive, [P])} || P <- Pids],
    [P || {P, R} <- Requests, erpc:receive_response(R, 5000)].
