%% The node that hostile peers attack, with a well-behaved BEAM node that calls it all the while: what a case does to
%% the
%% one must not be felt by the other. Started at first use; started again if a case killed it.
-module(np_victim).
-export([with/1, caller/1]).

-define(WORST_MS, 1000).

%% Runs Fun(Victim); then the node must be alive, and the BEAM's calls must have gone on without an error.
with(Fun) ->
    Victim = #{native := Native, beam := Beam} = get_victim(),
    np_node:show_log(Native),
    Before = reset(Beam),
    Result = Fun(Victim#{mark => np_node:mark(Native)}),
    timer:sleep(50),
    case np_node:alive(Native) of
        true -> ok;
        false -> error({node_died, np_node:wait_exit(Native, 1000), lists:nthtail(max(0,
            length(np_node:lines(np_node:log(Native))) - 5),
                                                                                  np_node:lines(np_node:log(Native)))})
    end,
    np_test:eventually(fun() -> #{calls := Calls} = seen(Beam), Calls > 0 end, 3000),
    #{failed := Failed, downs := Downs, worst := Worst} = seen(Beam),
    case {Failed, Downs, Worst < ?WORST_MS} of
        {0, 0, true} -> Result;
        _ -> error({others_disturbed, #{failed_calls => Failed, nodedowns => Downs, worst_ms => Worst,
                                        before => Before}})
    end.

get_victim() ->
    case whereis(?MODULE) of
        undefined -> start();
        Pid ->
            Victim = #{native := Native} = ask(Pid),
            case np_node:alive(Native) of
                true -> Victim;
                false -> exit(Pid, kill), np_node:owner_gone(Pid), start()
            end
    end.

start() ->
    Self = self(),
    Pid = spawn(fun() ->
        Native = #{node := Node} = np_node:native(#{name => np_node:unique("victim")}),
        Beam = np_node:beam(#{name => np_node:unique("bystander")}),
        np_node:on(Beam, fun() -> spawn(?MODULE, caller, [Node]), ok end),
        register(?MODULE, self()),
        Self ! {self(), up},
        serve(#{native => Native, beam => Beam, node => Node, port => np_raw:port(Node)})
    end),
    Ref = monitor(process, Pid),
    receive {Pid, up} -> demonitor(Ref, [flush]), ask(Pid); {'DOWN', Ref, _, _, Why} -> error(Why) end.

ask(Pid) -> Pid ! {get, self()}, receive {Pid, Victim} -> Victim after 2000 -> error(no_victim) end.

serve(Victim) -> receive {get, From} -> From ! {self(), Victim}, serve(Victim) end.

%% On the BEAM node: a call each 10 ms.
caller(Node) ->
    register(?MODULE, self()),
    net_kernel:monitor_nodes(true, [{node_type, all}]),
    P = np_node:worker(Node, 'Elixir.Echo'),
    calling(P, #{calls => 0, failed => 0, downs => 0, worst => 0}).

calling(P, #{calls := Calls, failed := Failed, downs := Downs, worst := Worst} = Seen) ->
    receive
        {reset, From} -> From ! {self(), Seen}, calling(P, #{calls => 0, failed => 0, downs => 0, worst => 0});
        {seen, From} -> From ! {self(), Seen}, calling(P, Seen);
        {nodedown, Node, _} when Node =:= node(P) -> calling(P, Seen#{downs := Downs + 1});
        {nodeup, _, _} -> calling(P, Seen);
        {nodedown, _, _} -> calling(P, Seen)
    after 10 ->
        case np_test:ms(fun() -> gen_server:call(P, {still, "here"}, 3000) end) of
            {Ms, {still, "here"}} -> calling(P, Seen#{calls := Calls + 1, worst := max(Worst, Ms)});
            {_, _} -> calling(P, Seen#{failed := Failed + 1})
        end
    end.

reset(Beam) -> tell(Beam, reset).
seen(Beam) -> tell(Beam, seen).

tell(Beam, What) ->
    np_node:on(Beam, fun() ->
        Pid = wait_for_caller(100),
        Pid ! {What, self()},
        receive {Pid, Seen} -> Seen after 4000 -> #{failed => caller_stuck, calls => 1, downs => 0, worst => 0} end
    end).

wait_for_caller(0) -> error(no_caller);
wait_for_caller(N) ->
    case whereis(?MODULE) of undefined -> timer:sleep(20), wait_for_caller(N - 1); Pid -> Pid end.
