%% Liveness: idle and busy connections with a net_ticktime of 8 s on both sides, slow links, frozen nodes.
-module(it_ticks).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [{C, Options#{slow => true, own_node => true, timeout => 90000}}
     || {C, Options} <- [{idle_stays_connected, #{}}, {hundred_megabytes_over_a_slow_link, #{}},
                         {frozen_node_is_noticed_and_rejoins, #{native => true}},
                         {frozen_beam_is_noticed_and_rejoins, #{native => true}}]].

-define(TICKS, ["tick_time_s: 8"]).

pair(Options) ->
    N = np_node:native(maps:merge(#{node => ?TICKS}, Options)),
    {N, maps:get(node, N), np_node:beam(#{args => ["-kernel", "net_ticktime", "8"]})}.

%% Nothing is sent for 14 s, nearly two tick times.
idle_stays_connected() ->
    {_, Node, B} = pair(#{}),
    ?assertEqual([], np_node:on(B, fun() ->
        pong = net_adm:ping(Node),
        net_kernel:monitor_nodes(true, [{node_type, all}]),
        np_test:collect(14000)
    end, 20000)),
    ?assertEqual([Node], np_node:on(B, fun() -> nodes(hidden) end)).

%% One message of 100 MB each way through a link of about 8 MB/s: each way takes longer than the tick time.
hundred_megabytes_over_a_slow_link() ->
    N = np_node:native(#{node => ?TICKS}),
    Node = maps:get(node, N),
    {FakeEpmd, Proxy} = np_slow:start(Node, 8),
    B = np_node:beam(#{epmd => FakeEpmd, args => ["-kernel", "net_ticktime", "8"]}),
    {Ms, Downs} = np_node:on(B, fun() ->
        P = np_node:worker(Node, ?ECHO),
        net_kernel:monitor_nodes(true, [{node_type, all}]),
        T = binary:copy(<<"0123456789">>, 10000000),
        {Ms, Same} = np_test:ms(fun() -> T =:= gen_server:call(P, T, 80000) end),
        true = Same,
        {round(Ms), np_test:flush()}
    end, 85000),
    exit(Proxy, kill),
    ?assertEqual([], Downs),
    ?assert(Ms > 18000, Ms),
    {note, io_lib:format("~b s for both ways", [Ms div 1000])}.

%% kill -STOP: the BEAM says net_tick_timeout; after -CONT they find each other (the node has the BEAM as its seed).
frozen_node_is_noticed_and_rejoins() ->
    B = np_node:beam(#{args => ["-kernel", "net_ticktime", "8"]}),
    N = #{node := Node} = np_node:native(#{node => ?TICKS, connect => [maps:get(node, B)]}),
    np_node:allow_log_line(B, "not responding"), % what this case is about
    np_test:eventually(fun() -> [Node] =:= np_node:on(B, fun() -> nodes(hidden) end) end, 3000),
    Self = self(),
    spawn_link(fun() -> Self ! {event, np_node:on(B, fun() ->
        net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
        receive {nodedown, Node, I} -> proplists:get_value(nodedown_reason, I) after 20000 -> no_nodedown end
    end, 25000)} end),
    timer:sleep(200),
    np_node:kill(N, "STOP"),
    {Ms, Event} = np_test:ms(fun() -> receive {event, E} -> E after 25000 -> none end end),
    np_node:kill(N, "CONT"),
    ?assertEqual(net_tick_timeout, Event),
    ?assert(Ms > 5000 andalso Ms < 13000, Ms),
    {Back, ok} = np_test:ms(fun() -> np_test:eventually(fun() -> [Node] =:= np_node:on(B,
        fun() -> nodes(hidden) end) end, 5000) end),
    ?assertEqual(1, np_node:on(B, fun() -> gen_server:call(np_node:worker(Node, ?COUNTER), increment) end)),
    {note, io_lib:format("nodedown after ~b ms, back ~b ms after -CONT", [round(Ms), round(Back)])}.

%% The other way round: the node drops a BEAM that is silent, and is there when it wakes.
frozen_beam_is_noticed_and_rejoins() ->
    B = np_node:beam(#{args => ["-kernel", "net_ticktime", "8"]}),
    N = #{node := Node} = np_node:native(#{node => ?TICKS, connect => [maps:get(node, B)]}),
    np_node:allow_log_line(B, "not responding"),
    np_test:eventually(fun() -> [Node] =:= np_node:on(B, fun() -> nodes(hidden) end) end, 3000),
    Mark = np_node:mark(N),
    #{os_pid := OsPid} = B,
    os:cmd("kill -STOP " ++ integer_to_list(OsPid)),
    {Ms, Seen} = np_test:ms(fun() -> np_test:eventually(fun() -> [L || L <- np_node:since(N, Mark),
        string:find(L, atom_to_list(maps:get(node, B))) =/= nomatch] =/= [] end, 15000) end),
    timer:sleep(500),
    os:cmd("kill -CONT " ++ integer_to_list(OsPid)),
    ?assertEqual(ok, Seen),
    ?assert(Ms > 5000 andalso Ms < 13000, Ms),
    np_test:eventually(fun() -> [Node] =:= np_node:on(B, fun() -> nodes(hidden) end) end, 12000),
    ?assertEqual(1, np_node:on(B, fun() -> gen_server:call(np_node:worker(Node, ?COUNTER), increment) end)),
    {note, io_lib:format("dropped after ~b ms", [round(Ms)])}.
