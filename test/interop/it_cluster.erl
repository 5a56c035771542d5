%% The node among BEAM nodes: hidden, trace tokens, signals queued before the connection, events, global, discovery,
%% meshes. Each case has a cluster of its own.
-module(it_cluster).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [hidden_is_hidden, trace_tokens, signals_before_the_connection, monitor_nodes_events, info_of_the_connection,
     {global_works_beside_it, #{timeout => 30000}}, {global_name_of_a_native_worker, #{timeout => 30000}},
     {per_peer_cookie_of_the_beam, #{native => true, timeout => 30000}},
     {per_peer_cookie_of_the_node, #{native => true, timeout => 30000}},
     {wrong_cookie_of_a_beam, #{native => true, timeout => 30000}}, {net_kernel_allow_refuses_it,
         #{native => true, timeout => 30000}},
     {discovers_the_rest_of_the_cluster, #{native => true, slow => true, timeout => 45000}},
     {two_natives_and_a_beam_between, #{native => true, slow => true, timeout => 45000}},
     {fixed_port_and_no_epmd, #{native => true, timeout => 30000}}, {ipv6, #{native => true, timeout => 30000}},
     {short_call_storm_from_three_nodes, #{timeout => 45000}}].

pair() -> pair(#{}, #{}).
pair(NativeOptions, BeamOptions) ->
    N = np_node:native(NativeOptions),
    {N, maps:get(node, N), np_node:beam(BeamOptions)}.

hidden_is_hidden() ->
    {_, Node, B} = pair(),
    ?assertEqual({pong, [], [Node], [Node]}, np_node:on(B, fun() -> {net_adm:ping(Node), nodes(), nodes(hidden),
        nodes(connected)} end)),
    ?assertEqual([], np_node:on(B, fun() -> timer:sleep(300), net_adm:ping(Node), np_test:flush() end)).

%% Messages under a trace token arrive, and their answers.
trace_tokens() ->
    {_, Node, B} = pair(),
    ?assertEqual(ok, np_node:on(B, fun() ->
        P = np_node:worker(Node, ?COUNTER),
        E = np_node:worker(Node, ?ECHO),
        [begin
             seq_trace:set_token(label, Label),
             seq_trace:set_token(send, true),
             seq_trace:set_token('receive', true),
             P ! hi,
             {nosuch, Node} ! hi,
             1 = gen_server:call(P, {add, 1}),
             0 = gen_server:call(P, {add, -1}),
             {x, Label} = gen_server:call(E, {x, Label}),
             {ok, _} = gen_server:call({?ECHO_SERVER, Node}, {whereis, 1}),
             Node = erpc:call(Node, erlang, node, []),
             {_, R} = spawn_monitor(fun() -> link(P), unlink(P) end),
             receive {'DOWN', R, _, _, normal} -> ok end,
             seq_trace:set_token([])
         end || Label <- [1, {any, "label"}, 1 bsl 70]],
        seq_trace:set_token(label, {any, t}),
        seq_trace:set_token(send, true),
        process_flag(trap_exit, true),
        link(P),
        exit(P, traced),
        receive {'EXIT', P, traced} -> ok end,
        ok = gen_server:stop(E),
        ok
    end)).

%% What is sent just after a disconnect is queued while the connection is made, in the old opcodes.
signals_before_the_connection() ->
    {_, Node, B} = pair(),
    ?assertEqual(ok, np_node:on(B, fun() ->
        process_flag(trap_exit, true),
        net_kernel:monitor_nodes(true, [{node_type, all}]),
        Down = fun() -> erlang:disconnect_node(Node), receive {nodedown, Node, _} -> ok after 2000 ->
            error(no_nodedown) end end,
        P = np_node:worker(Node, ?COUNTER),
        [begin
             Down(),
             [gen_server:cast(P, increment) || _ <- lists:seq(1, 10)],
             P ! hi,
             Expected = 10 * N,
             {n, Expected, Expected} = {n, Expected, gen_server:call(P, get)}
         end || N <- [1, 2, 3]],
        Down(),
        {ok, _} = gen_server:call({?ECHO_SERVER, Node}, {whereis, 1}),
        Down(),
        R1 = monitor(process, P),
        gen_server:cast(P, increment),
        31 = gen_server:call(P, get),
        Down(),
        receive {'DOWN', R1, _, _, noconnection} -> ok after 1000 -> error(no_down) end,
        link(P),
        32 = gen_server:call(P, {add, 1}),
        unlink(P),
        Down(),
        exit(P, {old, exit2}),
        {exit, {noproc, _}} = np_test:quietly(fun() -> gen_server:call(P, get) end),
        Down(),
        [] = [M || M <- np_test:collect(50), element(1, M) =/= nodeup],
        Node = erpc:call(Node, erlang, node, []),
        Down(),
        {pong, []} = {net_adm:ping(Node), []},
        Down(),
        Big = binary:copy(<<1>>, 1000000),
        P2 = np_node:worker(Node, ?ECHO),
        Down(),
        Big = gen_server:call(P2, Big),
        ok
    end)).

monitor_nodes_events() ->
    {N, Node, B} = pair(),
    ?assertEqual(ok, np_node:on(B, fun() ->
        net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
        pong = net_adm:ping(Node),
        receive {nodeup, Node, I1} -> hidden = proplists:get_value(node_type, I1) after 1000 -> error(no_nodeup) end,
        erlang:disconnect_node(Node),
        receive {nodedown, Node, I2} -> {disconnect, disconnect} = {disconnect,
            proplists:get_value(nodedown_reason, I2)} after 1000 -> error(no_nodedown) end,
        pong = net_adm:ping(Node),
        receive {nodeup, Node, _} -> ok after 1000 -> error(no_nodeup) end,
        [] = np_test:collect(100),
        ok
    end)),
    np_node:kill(N, "KILL"),
    ?assertEqual(connection_closed, np_node:on(B, fun() ->
        net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
        case lists:member(Node, nodes(hidden)) of
            false -> connection_closed;
            true -> receive {nodedown, Node, I} -> proplists:get_value(nodedown_reason, I) after 2000 -> no_nodedown end
        end
    end)).

info_of_the_connection() ->
    {_, Node, B} = pair(),
    {ok, Info} = np_node:on(B, fun() -> pong = net_adm:ping(Node), net_kernel:node_info(Node) end),
    ?assertEqual(up, proplists:get_value(state, Info)),
    ?assertEqual(hidden, proplists:get_value(type, Info)).

%% Locks and names of global work with the node connected; a hidden node must not take part, nor block.
global_works_beside_it() ->
    {_, Node, B1} = pair(),
    B2 = np_node:beam(#{}),
    Node2 = maps:get(node, B2),
    ?assertEqual(ok, np_node:on(B1, fun() ->
        pong = net_adm:ping(Node),
        pong = net_adm:ping(Node2),
        ok = global:sync(),
        {Ms, ok} = np_test:ms(fun() -> global:trans({r, self()}, fun() -> ok end) end),
        true = Ms < 2000,
        yes = global:register_name(a_name, self()),
        true = Node2 =:= hd([N || N <- nodes(), N =:= Node2]),
        Results = erpc:multicall(nodes(connected), erlang, node, []),
        [true = lists:member({ok, N}, Results) || N <- [Node, Node2]],
        ok
    end)).

global_name_of_a_native_worker() ->
    {_, Node, B1} = pair(),
    B2 = np_node:beam(#{}),
    Node2 = maps:get(node, B2),
    ?assertEqual(5, np_node:on(B1, fun() ->
        pong = net_adm:ping(Node2),
        ok = global:sync(),
        P = np_node:worker(Node, ?COUNTER),
        yes = global:register_name(the_counter, P),
        erpc:call(Node2, gen_server, call, [{global, the_counter}, {add, 5}])
    end)).

%% erlang:set_cookie/2 on the BEAM: its own side is different for this node only.
per_peer_cookie_of_the_beam() ->
    N = np_node:native(#{cookie => "another"}),
    Node = maps:get(node, N),
    B = np_node:beam(#{}),
    ?assertEqual(pong, np_node:on(B, fun() -> erlang:set_cookie(Node, another), net_adm:ping(Node) end)).

%% The same in the node's config.
per_peer_cookie_of_the_node() ->
    Name = np_node:unique("beam"),
    File = filename:join(os:getenv("NP_INTEROP_DIR"), Name ++ ".peercookie"),
    ok = file:write_file(File, "special"),
    ok = file:change_mode(File, 8#600),
    #{node := Node} = np_node:native(#{node => ["cookies:", "  - node: " ++ Name ++ "@127.0.0.1",
                                                "    cookie_file: " ++ File],
                                       connect => [list_to_atom(Name ++ "@127.0.0.1")]}),
    B = np_node:beam(#{name => Name, cookie => "special"}),
    np_test:eventually(fun() -> [Node] =:= np_node:on(B, fun() -> nodes(hidden) end) end, 5000),
    Other = np_node:beam(#{}),
    ?assertEqual(pong, np_node:on(Other, fun() -> net_adm:ping(Node) end)).

wrong_cookie_of_a_beam() ->
    {N, Node, B} = pair(#{}, #{cookie => "wrong"}),
    Mark = np_node:mark(N),
    ?assertEqual(pang, np_node:on(B, fun() -> net_adm:ping(Node) end)),
    np_node:logged(N, Mark, [atom_to_list(maps:get(node, B)), "cookie"]).

net_kernel_allow_refuses_it() ->
    Name = np_node:unique("beam"),
    B = np_node:beam(#{name => Name}),
    np_node:on(B, fun() -> net_kernel:allow([nobody@nowhere]) end),
    N = np_node:native(#{connect => [maps:get(node, B)]}),
    timer:sleep(1500),
    ?assertEqual([], np_node:on(B, fun() -> nodes(hidden) end)),
    ?assert(np_node:alive(N)).

%% Connected to one BEAM it finds the others that this one knows, now and later.
discovers_the_rest_of_the_cluster() ->
    B1 = np_node:beam(#{}),
    B2 = np_node:beam(#{}),
    [N1, N2] = [maps:get(node, B) || B <- [B1, B2]],
    pong = np_node:on(B1, fun() -> net_adm:ping(N2) end),
    #{node := Node} = np_node:native(#{connect => [N1]}),
    Begin = erlang:monotonic_time(millisecond),
    np_test:eventually(fun() -> lists:member(Node, np_node:on(B2, fun() -> nodes(hidden) end)) end, 12000),
    First = erlang:monotonic_time(millisecond) - Begin,
    B3 = np_node:beam(#{}),
    pong = np_node:on(B3, fun() -> net_adm:ping(N2) end),
    Begin2 = erlang:monotonic_time(millisecond),
    np_test:eventually(fun() -> lists:member(Node, np_node:on(B3, fun() -> nodes(hidden) end)) end, 12000),
    {note, io_lib:format("~b ms at start, ~b ms for a newcomer", [First, erlang:monotonic_time(millisecond) - Begin2])}.

%% Two native nodes that share only a BEAM find each other.
two_natives_and_a_beam_between() ->
    B = np_node:beam(#{}),
    Beam = maps:get(node, B),
    #{node := A} = np_node:native(#{name => np_node:unique("a"), connect => [Beam]}),
    #{node := Z} = np_node:native(#{name => np_node:unique("z"), connect => [Beam]}),
    Sees = fun(X, Y) -> lists:member(Y, np_node:on(B, fun() -> erpc:call(X, erlang, nodes, [connected]) end)) end,
    np_test:eventually(fun() -> Sees(A, Z) andalso Sees(Z, A) end, 15000),
    {Ka, Kz} = np_node:on(B, fun() -> {gen_server:call(np_node:worker(A, ?COUNTER), {add, 1}),
                                       gen_server:call(np_node:worker(Z, ?COUNTER), {add, 2})} end),
    ?assertEqual({1, 2}, {Ka, Kz}).

%% -erl_epmd_port: the BEAM takes every peer to be at that port, on that peer's host.
fixed_port_and_no_epmd() ->
    Port = np_node:free_port(),
    Dead = integer_to_list(np_node:free_port()), % no epmd answers here
    #{node := Node} = np_node:native(#{node => ["port: " ++ integer_to_list(Port), "epmd: false",
                                                "listen_address: 127.0.0.1"], epmd => Dead}),
    B = np_node:beam(#{epmd => Dead, args => ["-start_epmd", "false", "-erl_epmd_port", integer_to_list(Port),
                                              "-dist_listen", "false"]}),
    ?assertEqual({pong, 1}, np_node:on(B, fun() -> {net_adm:ping(Node),
                                                    gen_server:call(np_node:worker(Node, ?COUNTER), increment)} end)).

ipv6() ->
    case gen_tcp:listen(0, [inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {error, Reason} -> {skip, io_lib:format("this machine has no ::1 (~p)", [Reason])};
        {ok, L} -> gen_tcp:close(L), ipv6_there()
    end.

%% The node registers at epmd on 127.0.0.1 if not at ::1; so here the port is fixed and known.
ipv6_there() ->
    Port = np_node:free_port(),
    Dead = integer_to_list(np_node:free_port()),
    #{node := Node} = np_node:native(#{host => "::1", node => ["port: " ++ integer_to_list(Port), "epmd: false"],
                                       epmd => Dead}),
    case np_test:quietly(fun() -> np_node:beam(#{host => "::1", epmd => Dead,
            args => ["-proto_dist", "inet6_tcp", "-start_epmd", "false", "-erl_epmd_port", integer_to_list(Port),
                     "-dist_listen", "false"]}) end) of
        #{} = B -> ?assertEqual({pong, 1}, np_node:on(B, fun() -> {net_adm:ping(Node),
            gen_server:call(np_node:worker(Node, ?COUNTER), increment)} end));
        Error -> {skip, io_lib:format("OTP does not start with the host ::1 (~0p)", [Error])}
    end.

short_call_storm_from_three_nodes() ->
    N = np_node:native(#{}),
    Node = maps:get(node, N),
    Beams = [np_node:beam(#{}) || _ <- [1, 2, 3]],
    P = np_node:on(hd(Beams), fun() -> np_node:worker(Node, ?COUNTER) end),
    Refs = [spawn_monitor(fun() -> np_node:on(B, fun() ->
        Callers = [spawn_monitor(fun() -> [gen_server:call(P, increment, 20000) || _ <- lists:seq(1, 100)] end)
                   || _ <- lists:seq(1, 20)],
        [receive {'DOWN', R, _, _, Why} -> normal = Why end || {_, R} <- Callers] end) end) || B <- Beams],
    [receive {'DOWN', R, _, _, Why} -> ?assertEqual(normal, Why) end || {_, R} <- Refs],
    ?assertEqual(6000, np_node:on(hd(Beams), fun() -> gen_server:call(P, get) end)).
