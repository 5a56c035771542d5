%% syn's scopes across BEAM and native nodes: names, groups, requests from either side, ends of processes. The cases of
%% a flavour (which syn runs on the BEAM nodes) share a cluster of three BEAM and two native nodes.
-module(it_syn).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

-define(REGISTRY, 'Elixir.Sc.Registry').

cases() ->
    [{C, #{with => {element(1, Flavour), Flavour}, native => true, own_node => true, alone => true,
           timeout => 60000}}
     || Flavour <- np_syn_cluster:flavours(),
        C <- [native_workers_are_found_from_everywhere, via_names, beam_registers_a_native_process,
              what_cannot_be_registered, names_of_all_kinds, update_by_a_fun, beam_process_is_found_by_native_code,
              native_worker_registers_itself, groups_of_both, publish_reaches_all, multi_call_reaches_all,
              names_go_with_the_process, groups_go_with_the_process, unknown_calls_and_casts,
              names_of_a_pool_stay_one, killed_scope_processes_of_a_beam, killed_scope_processes_of_the_node,
              connection_lost, end_of_the_cluster]]
    ++ [{real_syn, #{native => true, own_node => true}}].

real_syn() ->
    case np_syn:found() of
        [] -> {skip, "real syn not on ERL_LIBS or NP_SYN_LIBS: only its double was asked"};
        Found -> {note, lists:join(", ", [V || {real, V, _} <- Found])}
    end.

cluster(Flavour) ->
    #{beams := [B1, B2, B3], natives := [N1, N2]} = C = np_syn_cluster:shared(Flavour),
    {C, B1, B2, B3, N1, N2}.

end_of_the_cluster(Flavour) -> np_syn_cluster:end_shared(Flavour).

unique(What) -> {What, erlang:unique_integer([positive])}.

%% What syn says on a BEAM node.
at(B, F, Args) -> np_syn_cluster:call_syn(B, F, Args).
lookup(B, S, Name) -> at(B, lookup, [S, Name]).
worker(B, N) -> np_syn_cluster:worker(B, N).
call(B, Pid, Request) -> np_syn_cluster:call(B, Pid, Request).

%% What a native node says, asked through a BEAM.
native_lookup(B, #{node := Node}, S, Name) ->
    np_node:on(B, fun() -> erpc:call(Node, native_pool, lookup, [S, Name]) end).
native_members(B, #{node := Node}, S, Group) ->
    lists:sort(np_node:on(B, fun() -> erpc:call(Node, native_pool, members, [S, Group]) end)).

%% All five nodes give this answer within 2 s.
everywhere({_, B1, B2, B3, N1, N2}, S, Name, Expected) ->
    np_test:eventually(fun() ->
        Answers = [lookup(B, S, Name) || B <- [B1, B2, B3]] ++ [native_lookup(B1, N, S, Name) || N <- [N1, N2]],
        Answers =:= lists:duplicate(5, Expected) orelse Answers
    end).

members_everywhere({_, B1, B2, B3, N1, N2}, S, Group, Expected) ->
    np_test:eventually(fun() ->
        Answers = [lists:sort(at(B, members, [S, Group])) || B <- [B1, B2, B3]]
            ++ [native_members(B1, N, S, Group) || N <- [N1, N2]],
        Answers =:= lists:duplicate(5, lists:sort(Expected)) orelse Answers
    end).

%% A process of a BEAM node that waits; it answers multi_calls, keeps what else it is sent, and ends as told.
waiting(B) ->
    np_node:on(B, fun() -> spawn(fun() -> waiting_loop([]) end) end).

waiting_loop(Kept) ->
    receive
        {stop, Why} -> exit(Why);
        {kept, From} -> From ! {kept, lists:reverse(Kept)}, waiting_loop(Kept);
        {syn_multi_call, Message, {Pid, Ref}, Meta} ->
            Pid ! {syn_multi_call_reply, Ref, {got, Message, Meta}}, waiting_loop(Kept);
        Other -> waiting_loop([Other | Kept])
    end.

kept(B, Pid) -> np_node:on(B, fun() -> Pid ! {kept, self()}, receive {kept, L} -> L after 2000 -> none end end).

%% ---- names ----

native_workers_are_found_from_everywhere(Flavour) ->
    {_, B1, B2, _, N1, N2} = All = cluster(Flavour),
    [begin
         Name = {worker, {ref, 'Elixir.Sc.Worker', Id}},
         Pid = np_node:on(B1, fun() -> {ok, P} = gen_server:call({'Elixir.Sc.Server', Node}, {whereis, Id}), P end),
         Meta = [{node, Node}],
         everywhere(All, ?REGISTRY, Name, {Pid, Meta}),
         %% from native code on the other node
         Asker = worker(B2, case N of N1 -> N2; N2 -> N1 end),
         ?assertEqual({Pid, Meta}, call(B2, Asker, {lookup, ?REGISTRY, Name}))
     end || {Id, #{node := Node} = N} <- [{1, N1}, {2, N2}]].

via_names(Flavour) ->
    {_, B1, B2, B3, N1, _} = All = cluster(Flavour),
    Pid = worker(B1, N1),
    Name = unique(via),
    ?assertEqual(yes, at(B2, register_name, [{users, Name}, Pid])),
    everywhere(All, users, Name, {Pid, undefined}),
    ?assertEqual([1, 2, 3], [np_node:on(B, fun() -> gen_server:call(np_syn:via(users, Name), increment) end)
                             || B <- [B1, B2, B3]]),
    %% the name is taken for a gen_server, too
    ?assertMatch({error, {already_started, Pid}},
                 np_node:on(B3, fun() -> gen_server:start(np_syn:via(users, Name), np_standin, [], []) end)),
    call(B1, Pid, {stop, shutdown}),
    everywhere(All, users, Name, undefined),
    ?assertMatch({exit, {noproc, _}}, np_node:on(B1, fun() -> np_test:quietly(fun() ->
        gen_server:call(np_syn:via(users, Name), increment) end) end)).

beam_registers_a_native_process(Flavour) ->
    {_, B1, B2, B3, N1, N2} = All = cluster(Flavour),
    [begin
         P = worker(B1, N),
         Name = unique(name),
         ?assertEqual(ok, at(B1, register, [users, Name, P, #{a => 1}])),
         %% the requester sees it at once, all others soon
         ?assertEqual({P, #{a => 1}}, lookup(B1, users, Name)),
         everywhere(All, users, Name, {P, #{a => 1}}),
         ?assertEqual(ok, at(B1, register, [users, Name, P, #{a => 1}])),
         ?assertEqual(ok, at(B2, register, [users, Name, P, [two]])),
         ?assertEqual({P, [two]}, lookup(B2, users, Name)),
         everywhere(All, users, Name, {P, [two]}),
         ?assertEqual({error, taken}, at(B3, register, [users, Name, worker(B3, N), x])),
         %% the same name in another scope is another name
         ?assertEqual(undefined, lookup(B1, other, Name)),
         ?assertEqual(undefined, native_lookup(B1, N, other, Name)),
         ?assertEqual(ok, at(B3, unregister, [users, Name])),
         ?assertEqual(undefined, lookup(B3, users, Name)),
         everywhere(All, users, Name, undefined),
         ?assertEqual({error, undefined}, at(B3, unregister, [users, Name]))
     end || N <- [N1, N2]].

what_cannot_be_registered(Flavour) ->
    {_, B1, _, _, N1, _} = cluster(Flavour),
    #{node := Node} = N1,
    Dead = worker(B1, N1),
    call(B1, Dead, {stop, normal}),
    np_test:eventually(fun() -> not np_node:on(B1, fun() -> erpc:call(Node, erlang, is_process_alive, [Dead]) end)
    end),
    ?assertEqual({error, not_alive}, at(B1, register, [users, unique(dead), Dead, x])),
    ?assertEqual({error, not_alive}, at(B1, join, [users, unique(dead), Dead, x])),
    P = worker(B1, N1),
    ?assertEqual({error, not_in_group}, at(B1, leave, [users, unique(group), P])),
    %% a scope that only BEAM nodes are in
    ok = at(B1, add_node_to_scopes, [[beams_only]]),
    ?assertEqual({error, {invalid_remote_scope, beams_only, Node}},
                 np_node:on(B1, fun() -> np_test:quietly(fun() ->
                     (np_syn:module()):register(beams_only, x, P, x) end) end)),
    %% what was somebody's else
    Name = unique(name),
    ok = at(B1, register, [users, Name, P, x]),
    ?assertEqual({error, race_condition}, np_node:on(B1, fun() ->
        gen_server:call({syn_registry_users, Node}, {'3.0', unregister_on_node, node(), Name, Dead}) end)),
    ?assertEqual({error, undefined}, np_node:on(B1, fun() ->
        gen_server:call({syn_registry_users, Node}, {'3.0', unregister_on_node, node(), unique(none), P}) end)).

%% Equal is what =:= says, on all nodes. (No empty map in a name: where syn 3.4.1 unregisters that one it was seen to
%% lose other names with maps in them. It deletes rows by ets:match_delete, and there a map is a pattern.)
names_of_all_kinds(Flavour) ->
    {_, B1, B2, B3, N1, _} = All = cluster(Flavour),
    P = worker(B1, N1),
    Beam = waiting(B2),
    Ref = np_node:on(B3, fun() -> make_ref() end),
    Terms = [1, 1.0, -1, 0, 1 bsl 70, -(1 bsl 2000), 1.5e300, a, 'ein Ätom', 'ユ', [], "text", <<"text">>, <<1:3>>,
             <<>>, [1 | 2], [1, 2, [3]], {}, {1}, {1.0}, [1], [1.0], #{1 => a}, #{a => #{b => [c]}},
             maps:from_list([{I, {I, integer_to_binary(I)}} || I <- lists:seq(1, 40)]), P, Beam, Ref,
             {worker, {ref, 'Elixir.M', <<"id">>}}, fun erlang:self/0, lists:seq(1, 1000), binary:copy(<<7>>, 10000)],
    [begin
         Registered = {kind, Term},
         Owner = case I rem 2 of 0 -> P; 1 -> Beam end,
         ?assertEqual({Term, ok}, {Term, at(B1, register, [users, Registered, Owner, {meta, Term}])})
     end || {I, Term} <- lists:zip(lists:seq(1, length(Terms)), Terms)],
    [begin
         Owner = case I rem 2 of 0 -> P; 1 -> Beam end,
         everywhere(All, users, {kind, Term}, {Owner, {meta, Term}}),
         ?assertEqual({Owner, {meta, Term}}, call(B3, P, {lookup, users, {kind, Term}}))
     end || {I, Term} <- lists:zip(lists:seq(1, length(Terms)), Terms)],
    %% the order of a map's keys does not matter
    Map = maps:from_list([{I, {I, integer_to_binary(I)}} || I <- lists:seq(40, 1, -1)]),
    ?assertMatch({_, _}, call(B3, P, {lookup, users, {kind, Map}})),
    [?assertEqual({Term, ok}, {Term, at(B3, unregister, [users, {kind, Term}])}) || Term <- Terms],
    [everywhere(All, users, {kind, Term}, undefined) || Term <- [1, 1.0, Map, [], Ref]].

update_by_a_fun(Flavour) ->
    {_, B1, B2, B3, N1, _} = All = cluster(Flavour),
    P = worker(B1, N1),
    Name = unique(counted),
    ok = at(B1, register, [users, Name, P, 1]),
    Add = fun(Pid, Meta) when Pid =:= P -> Meta + 1 end,
    ?assertEqual({ok, {P, 2}}, at(B1, update_registry, [users, Name, Add])),
    everywhere(All, users, Name, {P, 2}),
    ?assertEqual({ok, {P, 3}}, at(B2, update_registry, [users, Name, Add])),
    everywhere(All, users, Name, {P, 3}),
    ?assertEqual({ok, {P, 3}}, at(B3, update_registry, [users, Name, fun(_, Meta) -> Meta end])),
    [?assertMatch({Class, oops}, np_node:on(B1, fun() -> np_test:quietly(fun() ->
        (np_syn:module()):update_registry(users, Name, fun(_, _) -> erlang:raise(Class, oops, []) end) end) end))
        || Class <- [error, exit, throw]],
    everywhere(All, users, Name, {P, 3}),
    ?assertEqual({error, undefined}, at(B1, update_registry, [users, unique(none), Add])),
    %% 20 at once: none is lost
    Self = self(),
    [spawn_link(fun() -> Self ! {updated, at(B, update_registry, [users, Name, Add])} end)
        || B <- [B1, B2], _ <- lists:seq(1, 10)],
    Results = [receive {updated, {ok, {P, M}}} -> M; {updated, Other} -> Other after 10000 -> none end
               || _ <- lists:seq(1, 20)],
    ?assertEqual(lists:seq(4, 23), lists:sort(Results)),
    everywhere(All, users, Name, {P, 23}),
    %% members, too
    Group = unique(group),
    ok = at(B1, join, [users, Group, P, 1]),
    ?assertEqual({ok, {P, 2}}, at(B2, update_member, [users, Group, P, fun(M) -> M + 1 end])),
    members_everywhere(All, users, Group, [{P, 2}]).

beam_process_is_found_by_native_code(Flavour) ->
    {_, B1, B2, _, N1, N2} = All = cluster(Flavour),
    Askers = [worker(B1, N) || N <- [N1, N2]],
    Name = unique(<<"beam">>),
    Pid = waiting(B2),
    [?assertEqual(undefined, call(B1, A, {lookup, users, Name})) || A <- Askers],
    ok = at(B2, register, [users, Name, Pid, {meta, 1.5, "x"}]),
    everywhere(All, users, Name, {Pid, {meta, 1.5, "x"}}),
    [?assertEqual({Pid, {meta, 1.5, "x"}}, call(B1, A, {lookup, users, Name})) || A <- Askers],
    %% for a native process the name is taken
    [?assertMatch({error, _}, call(B1, A, {register, users, Name, x})) || A <- Askers],
    [?assertMatch({error, _}, call(B1, A, {unregister, users, Name})) || A <- Askers],
    np_node:on(B2, fun() -> exit(Pid, {some, reason}) end),
    everywhere(All, users, Name, undefined).

native_worker_registers_itself(Flavour) ->
    {_, B1, B2, B3, N1, N2} = All = cluster(Flavour),
    P = worker(B1, N1),
    Q = worker(B1, N2),
    Name = unique(self),
    ?assertEqual(ok, call(B1, P, {register, users, Name, #{by => self}})),
    ?assertEqual({P, #{by => self}}, call(B1, P, {lookup, users, Name})),
    everywhere(All, users, Name, {P, #{by => self}}),
    ?assertEqual({P, #{by => self}}, call(B2, Q, {lookup, users, Name})),
    ?assertMatch({error, _}, call(B2, Q, {register, users, Name, mine})),
    ?assertEqual({error, taken}, at(B3, register, [users, Name, waiting(B3), mine])),
    ?assertEqual(ok, call(B1, P, {register, users, Name, changed})),
    everywhere(All, users, Name, {P, changed}),
    ?assertMatch({error, _}, call(B1, Q, {unregister, users, Name})),
    ?assertEqual(ok, call(B1, P, {unregister, users, Name})),
    everywhere(All, users, Name, undefined),
    ?assertMatch({error, _}, call(B1, P, {unregister, users, Name})),
    ?assertMatch({error, _}, call(B1, P, {register, no_such_scope, Name, x})),
    ?assertEqual(undefined, call(B1, P, {lookup, no_such_scope, Name})),
    %% then it is anybody's
    ?assertEqual(ok, at(B3, register, [users, Name, Q, x])),
    everywhere(All, users, Name, {Q, x}).

%% A worker's ref is one name in the cluster: no second worker of the same ref on another node.
names_of_a_pool_stay_one(Flavour) ->
    {_, B1, _, _, #{node := Node1}, #{node := Node2}} = cluster(Flavour),
    Id = unique(one),
    Start = fun(Node) -> np_node:on(B1, fun() ->
        gen_server:call({'Elixir.Sc.Server', Node}, {start_worker, Id, []}) end) end,
    {ok, Pid} = Start(Node1),
    np_test:eventually(fun() -> lookup(B1, ?REGISTRY, {worker, {ref, 'Elixir.Sc.Worker', Id}})
        =:= {Pid, [{node, Node1}]} end),
    timer:sleep(100),
    Again = Start(Node2),
    ?assertNotMatch({ok, Other} when Other =/= Pid, Again),
    ?assertEqual({Pid, [{node, Node1}]}, lookup(B1, ?REGISTRY, {worker, {ref, 'Elixir.Sc.Worker', Id}})),
    {note, io_lib:format("the other node says ~0tp", [Again])}.

%% ---- groups ----

groups_of_both(Flavour) ->
    {_, B1, B2, B3, N1, N2} = All = cluster(Flavour),
    Group = unique(group),
    [P, Q] = [worker(B1, N) || N <- [N1, N2]],
    Beam = waiting(B2),
    members_everywhere(All, users, Group, []),
    ?assertEqual(ok, call(B1, P, {join, users, Group, native})),
    ?assertEqual(ok, at(B1, join, [users, Group, Q, #{by => beam}])),
    ?assertEqual({Q, #{by => beam}}, at(B1, member, [users, Group, Q])),
    ?assertEqual(ok, at(B3, join, [users, Group, Beam, beam])),
    Members = [{P, native}, {Q, #{by => beam}}, {Beam, beam}],
    members_everywhere(All, users, Group, Members),
    [?assertEqual(lists:sort(Members), lists:sort(call(B2, A, {members, users, Group}))) || A <- [P, Q]],
    members_everywhere(All, other, Group, []),
    %% joining again changes the metadata
    ?assertEqual(ok, at(B2, join, [users, Group, P, again])),
    ?assertEqual(ok, call(B1, Q, {join, users, Group, again})),
    members_everywhere(All, users, Group, [{P, again}, {Q, again}, {Beam, beam}]),
    ?assertEqual(ok, at(B3, leave, [users, Group, P])),
    members_everywhere(All, users, Group, [{Q, again}, {Beam, beam}]),
    ?assertMatch({error, _}, call(B1, P, {leave, users, Group})),
    ?assertEqual(ok, call(B1, Q, {leave, users, Group})),
    ?assertEqual(ok, at(B1, leave, [users, Group, Beam])),
    members_everywhere(All, users, Group, []).

publish_reaches_all(Flavour) ->
    {_, B1, B2, _, N1, N2} = All = cluster(Flavour),
    Group = unique(group),
    Workers = [worker(B1, N) || N <- [N1, N1, N2]],
    Beam = waiting(B2),
    [ok = call(B1, W, {join, users, Group, x}) || W <- Workers],
    ok = at(B2, join, [users, Group, Beam, x]),
    members_everywhere(All, users, Group, [{P, x} || P <- [Beam | Workers]]),
    ?assertEqual({ok, 4}, at(B1, publish, [users, Group, {from, beam, <<"1">>}])),
    ?assertEqual(4, call(B1, hd(Workers), {publish, users, Group, {from, native}})),
    ?assertEqual(0, call(B1, hd(Workers), {publish, users, unique(nobody), x})),
    Expected = lists:sort([{from, beam, <<"1">>}, {from, native}]),
    np_test:eventually(fun() -> lists:sort(kept(B2, Beam)) =:= Expected end, 1000),
    [begin
         %% two senders: in any order
         Got = wait_infos(B1, W, 2, 50),
         ?assertEqual(Expected, lists:sort(Got))
     end || W <- Workers].

wait_infos(_, _, N, Tries) when N =< 0; Tries =:= 0 -> [];
wait_infos(B, W, N, Tries) ->
    case call(B, W, infos) of
        [] -> timer:sleep(20), wait_infos(B, W, N, Tries - 1);
        Got -> Got ++ wait_infos(B, W, N - length(Got), Tries)
    end.

multi_call_reaches_all(Flavour) ->
    {_, B1, B2, B3, N1, N2} = All = cluster(Flavour),
    Group = unique(group),
    Workers = [worker(B1, N) || N <- [N1, N1, N2, N2]],
    Beam = waiting(B2),
    #{node := Node} = N1,
    Deaf = np_node:on(B1, fun() -> {ok, P} = gen_server:call({'Elixir.Sc.Server', Node}, {whereis, 1}), P end),
    ok = at(B1, join, [users, Group, Beam, b]),
    [ok = at(B1, join, [users, Group, W, {m, I}]) || {I, W} <- lists:zip([1, 2, 3, 4], Workers)],
    Members = [{Beam, b} | [{W, {m, I}} || {I, W} <- lists:zip([1, 2, 3, 4], Workers)]],
    members_everywhere(All, users, Group, Members),
    {Replies, Bad} = at(B3, multi_call, [users, Group, {question, 42}, 2000]),
    ?assertEqual([], Bad),
    ?assertEqual(lists:sort([{M, {got, {question, 42}, Meta}} || {_, Meta} = M <- Members]), lists:sort(Replies)),
    %% one that does not answer is named
    ok = np_node:on(B1, fun() -> sys:suspend(Deaf) end),
    ok = at(B1, join, [users, Group, Deaf, deaf]),
    {Replies2, Bad2} = at(B1, multi_call, [users, Group, again, 500]),
    ok = np_node:on(B1, fun() -> sys:resume(Deaf) end),
    ok = at(B1, leave, [users, Group, Deaf]),
    ?assertEqual(5, length(Replies2)),
    ?assertEqual([{Deaf, deaf}], Bad2).

%% ---- ends of processes ----

%% The name goes everywhere, and every BEAM node's syn gives the true reason.
names_go_with_the_process(Flavour) ->
    {_, B1, B2, B3, N1, N2} = All = cluster(Flavour),
    Ends = [{normal, fun(P) -> call(B1, P, {stop, normal}) end, normal},
            {shutdown, fun(P) -> call(B1, P, {stop, {shutdown, [<<"x">>, 1.5]}}) end, {shutdown, [<<"x">>, 1.5]}},
            {crash, fun(P) -> np_node:on(B1, fun() -> exit(P, {boom, self()}), ok end) end, boom},
            {kill, fun(P) -> np_node:on(B1, fun() -> exit(P, kill) end) end, killed}],
    [begin
         P = worker(B1, N),
         Names = [unique(Label), unique(Label), unique(Label)],
         [N1Name, N2Name, N3Name] = Names,
         ok = call(B1, P, {register, users, N1Name, own}),
         ok = at(B2, register, [users, N2Name, P, beams]),
         ok = at(B3, register, [other, N3Name, P, others]),
         everywhere(All, users, N2Name, {P, beams}),
         everywhere(All, other, N3Name, {P, others}),
         End(P),
         [everywhere(All, S, Name, undefined) || {S, Name} <- [{users, N1Name}, {users, N2Name}, {other, N3Name}]],
         [begin
              Events = np_node:on(B, fun() -> [R || {unregistered, _, _, Pid, _, R} <- np_syn:events(Name), Pid =:= P]
              end),
              ?assertMatch({_, _, [_]}, {Label, Name, Events}),
              Seen = case hd(Events) of {boom, _} -> boom; R -> R end,
              ?assertEqual({Label, Reason}, {Label, Seen})
          end || B <- [B1, B2, B3], Name <- Names]
     end || {Label, End, Reason} <- Ends, N <- [N1, N2]].

groups_go_with_the_process(Flavour) ->
    {_, B1, B2, B3, N1, N2} = All = cluster(Flavour),
    [begin
         P = worker(B1, N),
         [G1, G2] = [unique(group), unique(group)],
         ok = call(B1, P, {join, users, G1, own}),
         ok = at(B2, join, [users, G2, P, beams]),
         members_everywhere(All, users, G1, [{P, own}]),
         members_everywhere(All, users, G2, [{P, beams}]),
         call(B1, P, {stop, {shutdown, why}}),
         [members_everywhere(All, users, G, []) || G <- [G1, G2]],
         [?assertEqual([{shutdown, why}], np_node:on(B, fun() -> [R || {left, _, _, Pid, _, R} <- np_syn:events(G),
              Pid =:= P] end)) || B <- [B1, B2, B3], G <- [G1, G2]]
     end || N <- [N1, N2]].

%% ---- odd requests; the hostile ones are in it_syn_faults ----

unknown_calls_and_casts(Flavour) ->
    {_, B1, B2, B3, #{node := N1}, #{node := N2}} = cluster(Flavour),
    Nodes = lists:sort([maps:get(node, B) || B <- [B1, B2, B3]] ++ [N1, N2]),
    [begin
         Process = {Name, Node},
         ?assertEqual(Nodes -- [Node], lists:sort(np_node:on(B1, fun() ->
             gen_server:call(Process, {'3.0', subcluster_nodes}) end))),
         ?assertEqual(undefined, np_node:on(B1, fun() -> gen_server:call(Process, {what, is, this}) end)),
         Before = np_node:on(B1, fun() -> erpc:call(Node, erlang, whereis, [Name]) end),
         np_node:on(B1, fun() -> gen_server:cast(Process, hello), Process ! hello end),
         ?assertEqual(Nodes -- [Node], lists:sort(np_node:on(B1, fun() ->
             gen_server:call(Process, {'3.0', subcluster_nodes}) end))),
         ?assertEqual(Before, np_node:on(B1, fun() -> erpc:call(Node, erlang, whereis, [Name]) end))
     end || Node <- [N1, N2], Name <- [syn_registry_users, syn_pg_users, 'syn_registry_Elixir.Sc.Registry']].

%% ---- ends of what the views hang on: within 2 s they are equal again ----

%% Something registered and joined on every node, so that there is something to lose.
furnish({_, B1, B2, B3, N1, N2}) ->
    Pids = [worker(B1, N) || N <- [N1, N2], _ <- lists:seq(1, 5)] ++ [waiting(B) || B <- [B1, B2, B3]],
    [begin
         ok = at(B2, register, [users, unique(furniture), P, {m, node(P)}]),
         ok = at(B3, join, [other, furniture, P, node(P)])
     end || P <- Pids],
    Pids.

killed_scope_processes_of_a_beam(Flavour) ->
    {C, B1, B2, B3, _, _} = All = cluster(Flavour),
    furnish(All),
    np_syn_cluster:settled(C),
    Took = [begin
        np_node:on(B, fun() -> [exit(P, kill) || {_, P} <- np_syn:pids()] end),
        timer:sleep(20),
        np_syn_cluster:settled(C)
    end || B <- [B1, B2, B3, B1]],
    {note, io_lib:format("equal after ~w ms", [Took])}.

killed_scope_processes_of_the_node(Flavour) ->
    {C, B1, _, _, N1, N2} = All = cluster(Flavour),
    furnish(All),
    np_syn_cluster:settled(C),
    Took = [begin
        np_node:on(B1, fun() ->
            [begin
                 P = erpc:call(Node, erlang, whereis, [Name]),
                 R = monitor(process, P),
                 exit(P, kill),
                 receive {'DOWN', R, _, _, killed} -> ok end
             end || Name <- [syn_registry_users, syn_pg_users, syn_registry_other, syn_pg_other]]
        end),
        np_syn_cluster:settled(C)
    end || #{node := Node} <- [N1, N2, N1]],
    {note, io_lib:format("equal after ~w ms", [Took])}.

connection_lost(Flavour) ->
    {C, B1, B2, B3, N1, N2} = All = cluster(Flavour),
    furnish(All),
    np_syn_cluster:settled(C),
    Took = [begin
        np_node:on(B, fun() -> erlang:disconnect_node(Node) end),
        timer:sleep(20),
        np_syn_cluster:settled(C)
    end || {B, #{node := Node}} <- [{B1, N1}, {B2, N2}, {B3, N1}, {B1, N1}, {B1, N2}]],
    {note, io_lib:format("equal after ~w ms", [Took])}.
