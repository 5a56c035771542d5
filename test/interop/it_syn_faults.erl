%% syn's scopes when nodes end and return, when connections are cut and names are registered on both sides, and when a
%% peer sends what it should not. Each case has a cluster of its own.
-module(it_syn_faults).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [{C, #{with => {element(1, Flavour), Flavour}, native => true, own_node => true, How => true, timeout => 90000}}
     || Flavour <- np_syn_cluster:flavours(),
        {C, How} <- [{beam_node_ends_and_returns, alone}, {native_node_ends_and_returns, alone},
                     {conflicts_between_beam_and_node, slow}, {conflicts_between_nodes, slow}, {equal_times, slow},
                     {malformed_messages, slow}, {impostors, slow}, {flood_of_discovers, slow}]].

%% Beside many other clusters nothing is quick.
-define(BUSY_MS, 6000).

start({_, [Syn | _]}) -> np_syn_cluster:start([Syn, Syn]).

at(B, F, Args) -> np_syn_cluster:call_syn(B, F, Args).
call(B, Pid, Request) -> np_syn_cluster:call(B, Pid, Request).
worker(B, N) -> np_syn_cluster:worker(B, N).
settled(C) -> np_syn_cluster:settled(C).
settled(C, Ms) -> np_syn_cluster:settled(C, Ms).

%% Names and members of all nodes: {Name, Pid}.
furnish(C) -> furnish(C, 2000).

furnish(#{beams := Beams, natives := Natives} = C, Ms) ->
    B1 = hd(Beams),
    Pids = [worker(B1, N) || N <- Natives, _ <- lists:seq(1, 20)] ++ [it_syn:waiting(B) || B <- Beams,
                                                                     _ <- lists:seq(1, 20)],
    Named = [{{furniture, I}, P} || {I, P} <- lists:zip(lists:seq(1, length(Pids)), Pids)],
    [begin
         ok = at(B1, register, [users, Name, P, node(P)]),
         ok = at(lists:last(Beams), join, [other, furniture, P, node(P)])
     end || {Name, P} <- Named],
    settled(C, Ms),
    Named.

%% ---- nodes that end ----

beam_node_ends_and_returns({_, [Syn | _]} = Flavour) ->
    #{beams := [B1, B2], natives := Natives} = C = start(Flavour),
    furnish(C),
    #{node := Node1, os_pid := OsPid} = B1,
    os:cmd("kill -9 " ++ integer_to_list(OsPid)),
    Left = C#{beams := [B2]},
    Gone = settled(Left),
    {Names, _} = np_node:on(B2, fun() -> np_syn:view(users) end),
    ?assertEqual({60, []}, {length(Names), [P || {_, P, _} <- Names, node(P) =:= Node1]}),
    timer:sleep(1200), % the nodes' pauses between tries are at their longest
    [Alive, _] = string:split(atom_to_list(Node1), "@"),
    Again = np_syn_cluster:beam(Syn, #{name => Alive}),
    P = it_syn:waiting(Again),
    ok = at(Again, register, [users, {furniture, again}, P, x]),
    #{node := Node2} = B2,
    np_node:on(Again, fun() -> true = net_kernel:connect_node(Node2) end),
    Back = settled(#{beams => [Again, B2], natives => Natives}),
    [?assertEqual({P, x}, np_node:on(B2, fun() -> erpc:call(N, native_pool, lookup, [users, {furniture, again}]) end))
        || #{node := N} <- Natives],
    {note, io_lib:format("equal ~b ms after its end, ~b ms after its return", [Gone, Back])}.

native_node_ends_and_returns(Flavour) ->
    #{beams := [B1 | _], natives := [N1, N2]} = C = start(Flavour),
    furnish(C),
    #{node := Node1} = N1,
    Worker = {worker, {ref, 'Elixir.Sc.Worker', 1}},
    {Old, _} = at(B1, lookup, ['Elixir.Sc.Registry', Worker]),
    np_node:kill(N1, "KILL"),
    {exited, _} = np_node:wait_exit(N1, 2000),
    Gone = settled(C#{natives := [N2]}),
    {Names, _} = np_node:on(B1, fun() -> np_syn:view(users) end),
    ?assertEqual({60, []}, {length(Names), [P || {_, P, _} <- Names, node(P) =:= Node1]}),
    ?assertEqual(undefined, at(B1, lookup, ['Elixir.Sc.Registry', Worker])),
    Again = np_node:restart(N1),
    Back = settled(C#{natives := [Again, N2]}),
    np_test:eventually(fun() -> at(B1, lookup, ['Elixir.Sc.Registry', Worker]) =/= undefined end),
    {New, Meta} = at(B1, lookup, ['Elixir.Sc.Registry', Worker]),
    ?assertNotEqual(Old, New),
    ?assertEqual([{node, Node1}], Meta),
    {note, io_lib:format("equal ~b ms after its end, ~b ms after it was ready again", [Gone, Back])}.

%% ---- conflicts ----

%% Half of the names are registered later by the BEAM, half by the native node; one native process traps exits.
conflicts_between_beam_and_node(Flavour) ->
    #{beams := [B1, B2], natives := [N1, _]} = C = start(Flavour),
    np_syn_cluster:split(B1, N1),
    Names = [{conflict, I} || I <- lists:seq(1, 20)],
    Sides = [begin
        Beam = it_syn:waiting(B1),
        Native = worker(B2, N1),
        Trap = I =:= 2 andalso ok =:= call(B2, Native, trap),
        Here = fun() -> ok = at(B1, register, [users, Name, Beam, {beam, I}]) end,
        There = fun() -> ok = call(B2, Native, {register, users, Name, {native, I}}) end,
        {First, Second} = case I rem 2 of 0 -> {There, Here}; 1 -> {Here, There} end,
        First(),
        %% a node that both talk to has the later one; the other side does not know
        timer:sleep(5),
        Second(),
        {Name, I, Beam, Native, Trap, watcher(B1, Beam), watcher(B2, Native)}
    end || {conflict, I} = Name <- Names],
    np_syn_cluster:heal(B1, N1),
    Took = settled(C, ?BUSY_MS),
    [begin
         {Winner, Loser, LoserWatch, WinnerWatch, LoserMeta} = case I rem 2 of
             0 -> {{Beam, {beam, I}}, Native, {B2, WN}, {B1, WB}, {native, I}};
             1 -> {{Native, {native, I}}, Beam, {B1, WB}, {B2, WN}, {beam, I}}
         end,
         ?assertEqual(Winner, at(B2, lookup, [users, Name])),
         Killed = {syn_resolve_kill, Name, LoserMeta},
         case Trap of
             true ->
                 ?assertMatch([{'EXIT', _, Killed}], call(B2, Loser, infos)),
                 ?assertEqual(alive, ended(LoserWatch));
             false -> ?assertEqual({I, Killed}, {I, ended(LoserWatch)})
         end,
         ?assertEqual({I, alive}, {I, ended(WinnerWatch)})
     end || {Name, I, Beam, Native, Trap, WB, WN} <- Sides],
    {note, io_lib:format("equal ~b ms after the heal", [Took])}.

%% Monitors Pid on a node of its side, and says why it ended.
watcher(B, Pid) -> np_node:on(B, fun() -> spawn(fun() -> watcher_loop(monitor(process, Pid), alive) end) end).

watcher_loop(Ref, State) ->
    receive
        {'DOWN', Ref, _, _, Why} -> watcher_loop(Ref, Why);
        {ask, From} -> From ! {self(), State}, watcher_loop(Ref, State)
    end.

ended({B, Watcher}) -> np_node:on(B, fun() -> Watcher ! {ask, self()}, receive {Watcher, State} -> State end end).

%% Between the native nodes stands a proxy that can be cut; both stay connected to the BEAM nodes.
conflicts_between_nodes({_, [Syn | _]}) ->
    #{beams := [B1, B2]} = Beams = np_syn_cluster:start([Syn, Syn], 0),
    Port = np_node:free_port(),
    N2 = np_syn_cluster:native(2, Beams, #{node => ["discover: false", "port: " ++ integer_to_list(Port)]}),
    #{node := Node2} = N2,
    {Proxy, ProxyPort} = proxy(Port),
    N1 = np_syn_cluster:native(1, Beams#{natives := [N2]}, #{node =>
        ["peer_ports: [{node: \"" ++ atom_to_list(Node2) ++ "\", port: " ++ integer_to_list(ProxyPort) ++ "}]"]}),
    #{node := Node1} = N1,
    C = Beams#{natives := [N1, N2]},
    settled(C, ?BUSY_MS),
    Linked = fun() -> lists:member(Node2, np_node:on(B1, fun() ->
        gen_server:call({syn_registry_users, Node1}, {'3.0', subcluster_nodes}) end)) end,
    ?assert(Linked()),
    Proxy ! {cut, self()},
    receive {Proxy, cut} -> ok end,
    np_test:eventually(fun() -> not Linked() end),
    %% each registers while the other does not hear of it; the BEAM nodes hear both, the later one last
    Sides = [begin
        [P1, P2] = [worker(B1, N) || N <- [N1, N2]],
        {First, Second} = case I rem 2 of 0 -> {P1, P2}; 1 -> {P2, P1} end,
        ok = call(B1, First, {register, users, {conflict, I}, first}),
        timer:sleep(5),
        ok = call(B1, Second, {register, users, {conflict, I}, second}),
        {I, Second, watcher(B1, First), watcher(B1, Second)}
    end || I <- lists:seq(1, 20)],
    Proxy ! {heal, self()},
    receive {Proxy, healed} -> ok end,
    Took = settled(C, ?BUSY_MS),
    [begin
         ?assertEqual({Second, second}, at(B2, lookup, [users, {conflict, I}])),
         ?assertEqual({syn_resolve_kill, {conflict, I}, first}, ended({B1, W1})),
         ?assertEqual(alive, ended({B1, W2}))
     end || {I, Second, W1, W2} <- Sides],
    {note, io_lib:format("equal ~b ms after the heal", [Took])}.

proxy(Target) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        L = listen(0),
        {ok, Port} = inet:port(L),
        Self ! {self(), Port},
        proxy_loop(L, Port, Target, [])
    end),
    receive {Pid, Port} -> {Pid, Port} end.

listen(Port) ->
    {ok, L} = gen_tcp:listen(Port, [binary, {active, false}, {reuseaddr, true}, {ip, {127, 0, 0, 1}}]),
    Self = self(),
    Acceptor = spawn_link(fun() -> acceptor(L, Self) end),
    true = is_pid(Acceptor),
    L.

acceptor(L, Owner) ->
    case gen_tcp:accept(L) of
        {ok, S} -> ok = gen_tcp:controlling_process(S, Owner), Owner ! {accepted, S}, acceptor(L, Owner);
        {error, _} -> ok
    end.

proxy_loop(L, Port, Target, Sockets) ->
    receive
        {accepted, A} ->
            {ok, B} = gen_tcp:connect({127, 0, 0, 1}, Target, [binary, {active, true}]),
            ok = inet:setopts(A, [{active, true}]),
            proxy_loop(L, Port, Target, [{A, B}, {B, A} | Sockets]);
        {tcp, S, Bytes} ->
            case lists:keyfind(S, 1, Sockets) of {S, To} -> gen_tcp:send(To, Bytes); false -> ok end,
            proxy_loop(L, Port, Target, Sockets);
        {tcp_closed, S} ->
            case lists:keyfind(S, 1, Sockets) of {S, To} -> gen_tcp:close(To); false -> ok end,
            proxy_loop(L, Port, Target, [Pair || {A, B} = Pair <- Sockets, A =/= S, B =/= S]);
        {cut, From} ->
            gen_tcp:close(L),
            [gen_tcp:close(S) || {S, _} <- Sockets],
            From ! {self(), cut},
            proxy_loop(none, Port, Target, []);
        {heal, From} ->
            Again = listen(Port),
            From ! {self(), healed},
            proxy_loop(Again, Port, Target, [])
    end.

%% A name of ours that the peer says it registered in the same nanosecond: the greater pid keeps it.
equal_times({_, [{_, '3.3.0'} | _]}) -> {skip, "syn 3.3.0 keeps both: nothing to agree on"};
equal_times({_, [{real, "3.3.0", _} | _]}) -> {skip, "syn 3.3.0 keeps both: nothing to agree on"};
equal_times(Flavour) ->
    #{beams := [B1, B2], natives := [N1, _]} = C = start(Flavour),
    #{node := Node1} = N1,
    Native = worker(B1, N1),
    Beam = it_syn:waiting(B1),
    ok = at(B1, register, [users, tie, Native, m]),
    settled(C, ?BUSY_MS),
    {Native, m, Time} = np_node:on(B1, fun() -> np_syn:row(users, tie) end),
    %% as B1's scope process would, had it registered Beam then
    np_node:on(B1, fun() ->
        [Table, ByPid] = [list_to_existing_atom("syn_registry_" ++ By ++ "_users") || By <- ["by_name",
                                                                                           "by_pid"]],
        Rows = case np_syn:module() of
            syn ->
                Ref = monitor(process, Beam),
                {{tie, Beam, b, Time, Ref, node()}, {Beam, tie, b, Time, Ref, node()}};
            _ -> {{tie, Beam, b, Time}, {Beam, tie}}
        end,
        ets:match_delete(ByPid, list_to_tuple([Native | lists:duplicate(tuple_size(element(2, Rows)) - 1,
                                                                        '_')])),
        ets:insert(Table, element(1, Rows)),
        ets:insert(ByPid, element(2, Rows)),
        {syn_registry_users, Node1} ! {'3.0', sync_register, tie, Beam, b, Time, normal},
        syn_registry_users ! {'3.0', sync_register, tie, Native, m, Time, normal}
    end),
    settled(C, ?BUSY_MS),
    {Winner, _} = at(B2, lookup, [users, tie]),
    Greater = np_node:on(B1, fun() -> max(Beam, Native) end),
    ?assertEqual(Greater, Winner).

%% ---- hostile and broken peers ----

%% All sorts of wrong messages and calls from a node that is in the scope: nothing changes, nothing ends, one line in
%% the log for each kind.
malformed_messages(Flavour) ->
    #{beams := [B1, B2], natives := [N1, N2]} = C = start(Flavour),
    Named = furnish(C, ?BUSY_MS),
    #{node := Node} = N1,
    {_, OfNode} = lists:nth(3, Named),
    {_, OfThird} = lists:last(Named),
    ?assertEqual({Node, maps:get(node, B2)}, {node(OfNode), node(OfThird)}),
    Before = np_node:on(B1, fun() -> [erpc:call(Node, erlang, whereis, [P]) || P <- processes_of()] end),
    Mark = np_node:mark(N1),
    Own = it_syn:waiting(B1),
    Times = 4,
    np_node:on(B1, fun() ->
        [{Process, Node} ! M || _ <- lists:seq(1, Times), Process <- processes_of(), M <- wrong(Own, OfNode, OfThird)],
        [{Process, Node} ! {'3.0', discover, self()} || Process <- [syn_registry_nosuch, syn_pg_nosuch]],
        ok
    end),
    Answers = np_node:on(B1, fun() ->
        [{Call, np_test:quietly(fun() -> gen_server:call({Process, Node}, Call, 2000) end)}
            || Process <- processes_of(), Call <- wrong_calls(Own, OfNode, OfThird)]
    end),
    ?assertEqual([], [A || {_, R} = A <- Answers, not refused(R)]),
    settled(C, ?BUSY_MS),
    {Names, Members} = np_node:on(B2, fun() -> {N, _} = np_syn:view(users), {_, M} = np_syn:view(other), {N, M} end),
    ?assertEqual({80, 80}, {length(Names), length(Members)}),
    ?assertEqual(Before, np_node:on(B1, fun() -> [erpc:call(Node, erlang, whereis, [P]) || P <- processes_of()] end)),
    ?assertEqual(1, call(B1, OfNode, increment)),
    ?assert(np_node:alive(N1) andalso np_node:alive(N2)),
    Kinds = [Kind || L <- np_node:since(N1, Mark), {match, [Kind]} <- [re:run(L, " warning syn (.*) process=",
                                                                         [{capture, all_but_first, list}])]],
    ?assertMatch([_, _, _ | _], Kinds),
    ?assertEqual(lists:usort(Kinds), lists:sort(Kinds)),
    %% deeper than the node takes at all: that connection is closed, and nothing is lost by it
    np_node:on(B1, fun() ->
        Deep = lists:foldl(fun(_, T) -> [T] end, x, lists:seq(1, 100000)),
        {syn_registry_users, Node} ! {'3.0', sync_register, Deep, Own, m, erlang:system_time(), normal}
    end),
    timer:sleep(50),
    settled(C, ?BUSY_MS),
    {note, lists:join(", ", lists:usort(Kinds))}.

processes_of() -> [syn_registry_users, syn_pg_users].

refused({error, _}) -> true;
refused({noop, _}) -> true;
refused(undefined) -> true;
refused(_) -> false.

wrong(Own, OfNode, OfThird) ->
    Now = erlang:system_time(),
    [x, {}, [], <<>>, 1.5, {'3.0'}, {'3.0', discover}, {'3.0', discover, x}, {'3.0', discover, OfNode},
     {'3.0', discover, OfThird}, {'3.0', discover, Own, more}, {'2.0', discover, Own},
     {'3.0', ack_sync, x, []}, {'3.0', ack_sync, OfThird, [{stolen, OfThird, m, Now}]},
     {'3.0', ack_sync, OfNode, []}, {'3.0', ack_sync, Own}, {'$gen_cast', x}, {'$gen_cast'},
     {'$gen_call', x, y}, {'$gen_call', {Own, x}}, {system, x, y},
     {'DOWN', make_ref(), process, OfThird, killed}, {'DOWN', make_ref(), process, {syn_registry_users, node()}, x},
     {'EXIT', Own, x}, {nodedown, node(OfNode)}, {nodeup, node()}]
    ++ [{'3.0', Tag, {wrong, 1}, Pid, m, Now, normal} || Tag <- [sync_register, sync_join], Pid <- [OfThird, OfNode, x]]
    ++ [{'3.0', Tag, {wrong, 2}, Own, m, Time, normal} || Tag <- [sync_register, sync_join],
        Time <- [x, -1, 1.5, Now + 30 * 86400 * 1000000000, 1 bsl 100, -(1 bsl 100)]]
    ++ [{'3.0', Tag, Term, Own, m, Now, normal} || Tag <- [sync_register, sync_join],
        Term <- [binary:copy(<<1>>, 100000)]]
    ++ [{'3.0', Tag, {wrong, 3}, Own, binary:copy(<<1>>, 2000000), Now, normal} || Tag <- [sync_register, sync_join]]
    ++ [{'3.0', Tag, {wrong, 4}, Own, m, Now, normal, more} || Tag <- [sync_register, sync_join]]
    ++ [{'3.0', Tag, {wrong, 4}, Own, m} || Tag <- [sync_register, sync_join]]
    ++ [{'3.0', Tag, {furniture, 1}, Pid, m, normal} || Tag <- [sync_unregister, sync_leave], Pid <- [OfThird, Own, x]]
    ++ [{'3.0', sync_leave, furniture, OfNode, m, normal}, {'3.0', sync_unregister, {furniture, 3}, OfNode, m, normal}].

wrong_calls(Own, OfNode, OfThird) ->
    [x, {}, {'3.0'}, {'3.0', nothing}, {'3.0', register_or_update_on_node}, {'3.0', join_or_update_on_node, node()}]
    ++ [{'3.0', Tag, node(), {wrong, 5}, Pid, m} || Tag <- [register_or_update_on_node, join_or_update_on_node],
        Pid <- [Own, OfThird, x]]
    ++ [{'3.0', Tag, node(), Term, OfNode, m} || Tag <- [register_or_update_on_node, join_or_update_on_node],
        Term <- [binary:copy(<<1>>, 100000)]]
    ++ [{'3.0', Tag, node(), {wrong, 5}, OfNode, binary:copy(<<1>>, 2000000)}
        || Tag <- [register_or_update_on_node, join_or_update_on_node]]
    ++ [{'3.0', Tag, node(), {wrong, 5}, Pid} || Tag <- [unregister_on_node, leave_on_node],
        Pid <- [Own, OfNode, OfThird, x]].

%% A process of a peer that says it were the scope's: what that node really has is known again at once.
impostors(Flavour) ->
    #{beams := [B1, _], natives := [#{node := Node}, _]} = C = start(Flavour),
    furnish(C, ?BUSY_MS),
    [begin
         Impostor = it_syn:waiting(B1),
         np_node:on(B1, fun() -> {Process, Node} ! Lie(Impostor) end),
         timer:sleep(50),
         settled(C, ?BUSY_MS),
         np_node:on(B1, fun() -> exit(Impostor, kill) end),
         timer:sleep(50),
         settled(C, ?BUSY_MS)
     end || Process <- [syn_registry_users, syn_pg_other],
            Lie <- [fun(P) -> {'3.0', discover, P} end, fun(P) -> {'3.0', ack_sync, P, []} end]].

%% Discovers without end: memory stays, workers answer, and the answers are few.
flood_of_discovers(Flavour) ->
    #{beams := [B1, _], natives := [N1, _]} = C = start(Flavour),
    #{node := Node} = N1,
    Worker = worker(B1, N1),
    [ok = call(B1, Worker, {register, users, {flooded, I}, lists:seq(1, 50)}) || I <- lists:seq(1, 1000)],
    settled(C, ?BUSY_MS),
    Rss = np_node:rss(N1),
    Mark = np_node:mark(N1),
    Longest = np_node:on(B1, fun() ->
        Scope = whereis(syn_registry_users),
        Flood = spawn_link(fun() ->
            [begin
                 {syn_registry_users, Node} ! {'3.0', discover, Scope},
                 I rem 100 =:= 0 andalso timer:sleep(1)
             end || I <- lists:seq(1, 30000)],
            receive never -> ok end
        end),
        {Ms, _} = lists:unzip([np_test:ms(fun() -> gen_server:call(Worker, increment) end) || _ <- lists:seq(1, 300)]),
        unlink(Flood),
        exit(Flood, kill),
        lists:max(Ms)
    end),
    settled(C, ?BUSY_MS),
    Grown = np_node:rss(N1) - Rss,
    ?assert(np_node:sanitized() orelse Grown < 60000),
    ?assertMatch([], [L || L <- np_node:since(N1, Mark), string:find(L, " error ") =/= nomatch]),
    {note, io_lib:format("longest call ~.1f ms, ~b kB more memory", [Longest, Grown])}.
