%% A stand-in for syn on a BEAM node, written from what syn does on the wire: two processes a scope, registered as
%% syn_registry_S and syn_pg_S, that send, take and answer what those of syn 3.3.0 to 3.4.1 do, over tables with syn's
%% names. Its API is the part of syn's that the suites use (np_syn.erl chooses between the two).
%%
%% The version decides what differs between syn's releases:
%%   '3.3.0'  an ack_sync can come behind what was sent after it; a tie of times keeps each side's own process; the
%%            loser of a conflict is not announced; a fun for an unknown name gets an odd answer; a cast is fatal
%%   '3.4.1'  none of that
%%   main     as 3.4.1, and what an ack_sync does not hold is gone
-module(np_syn_double).
-behaviour(gen_server).
-export([start/1, add_node_to_scopes/1, subcluster_nodes/2]).
-export([register/4, unregister/2, lookup/2, update_registry/3, registry_count/1]).
-export([whereis_name/1, register_name/2, unregister_name/1, send/2]).
-export([join/4, leave/3, members/2, member/3, update_member/4, publish/3, multi_call/4, multi_call_reply/2]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

-record(scope, {
    kind :: registry | pg,
    name :: atom(),        % S
    process :: atom(),     % syn_registry_S
    by_name :: atom(),     % {Key, Pid, Meta, Time}; the key of a group's member is {Group, Pid}
    by_pid :: atom(),      % {Pid, Key}
    sender :: pid(),
    nodes = #{} :: #{node() => pid()}, % scope processes of the others
    watched = #{} :: #{pid() => reference()}
}).

%% ---- the tables outlive the scope processes, which come back at once ----

start(Version) ->
    persistent_term:put(?MODULE, Version),
    Self = self(),
    Pid = spawn(fun() ->
        process_flag(trap_exit, true),
        erlang:register(?MODULE, self()),
        Self ! {self(), up},
        keeper(#{})
    end),
    receive {Pid, up} -> ok end.

version() -> persistent_term:get(?MODULE).

add_node_to_scopes(Scopes) ->
    [begin
         Ref = monitor(process, ?MODULE),
         ?MODULE ! {self(), Ref, Kind, Scope},
         receive {Ref, ok} -> demonitor(Ref, [flush]); {'DOWN', Ref, _, _, Why} -> error(Why) end
     end || Scope <- Scopes, Kind <- [registry, pg]],
    ok.

keeper(Running) ->
    receive
        {From, Ref, Kind, Scope} ->
            case lists:member({Kind, Scope}, maps:values(Running)) of
                true -> From ! {Ref, ok}, keeper(Running);
                false ->
                    ets:new(by_name(Kind, Scope), [set, public, named_table, {read_concurrency, true}]),
                    ets:new(by_pid(Kind, Scope), [bag, public, named_table, {read_concurrency, true}]),
                    Pid = start_scope(Kind, Scope),
                    From ! {Ref, ok},
                    keeper(Running#{Pid => {Kind, Scope}})
            end;
        {'EXIT', Pid, _} when is_map_key(Pid, Running) ->
            {{Kind, Scope}, Others} = maps:take(Pid, Running),
            keeper(Others#{start_scope(Kind, Scope) => {Kind, Scope}});
        _ -> keeper(Running)
    end.

start_scope(Kind, Scope) ->
    {ok, Pid} = gen_server:start_link({local, process(Kind, Scope)}, ?MODULE, {Kind, Scope}, []),
    Pid.

process(registry, S) -> atom("syn_registry_", S);
process(pg, S) -> atom("syn_pg_", S).

by_name(registry, S) -> atom("syn_registry_by_name_", S);
by_name(pg, S) -> atom("syn_pg_by_name_", S).

by_pid(registry, S) -> atom("syn_registry_by_pid_", S);
by_pid(pg, S) -> atom("syn_pg_by_pid_", S).

atom(Prefix, S) -> list_to_atom(Prefix ++ atom_to_list(S)).

%% ---- requests: to the scope process of the pid's own node; the caller does its own tables ----

ask(Kind, S, Node, Request) ->
    known(Kind, S),
    try gen_server:call({process(Kind, S), Node}, Request)
    catch exit:{noproc, {gen_server, call, _}} when Node =/= node() -> error({invalid_remote_scope, S, Node})
    end.

known(Kind, S) -> ets:info(by_name(Kind, S), size) =/= undefined orelse error({invalid_scope, S}).

set(Kind, S, Name, Pid, MetaOrFun) ->
    Tag = case Kind of registry -> register_or_update_on_node; pg -> join_or_update_on_node end,
    case ask(Kind, S, node(Pid), {'3.0', Tag, node(), Name, Pid, MetaOrFun}) of
        {ok, {_, _, Meta, _, _, _}} when node(Pid) =:= node() -> {ok, {Pid, Meta}};
        {ok, {What, Before, Meta, Time, ByName, ByPid}} when is_atom(What) ->
            put_row(ByName, ByPid, key(Kind, Name, Pid), Pid, Meta, Time),
            event(What, S, Name, Pid, Before, Meta, normal),
            {ok, {Pid, Meta}};
        {noop, Meta} -> {ok, {Pid, Meta}};
        {error, Why} -> {error, Why};
        {raise, Class, Why, Stack} -> erlang:raise(Class, Why, Stack)
    end.

ok_only({ok, _}) -> ok;
ok_only(Error) -> Error.

register(S, Name, Pid, Meta) -> ok_only(set(registry, S, Name, Pid, Meta)).

update_registry(S, Name, Fun) when is_function(Fun) ->
    case row(registry, S, Name) of
        {Name, Pid, _, _} -> set(registry, S, Name, Pid, Fun);
        none -> {error, undefined}
    end.

unregister(S, Name) ->
    case row(registry, S, Name) of
        none -> {error, undefined};
        {_, Pid, Meta, _} ->
            case ask(registry, S, node(Pid), {'3.0', unregister_on_node, node(), Name, Pid}) of
                {ok, ByPid} when node(Pid) =/= node() ->
                    delete_row(by_name(registry, S), ByPid, Name, Pid),
                    np_syn:on_process_unregistered(S, Name, Pid, Meta, normal),
                    ok;
                {ok, _} -> ok;
                Error -> Error
            end
    end.

lookup(S, Name) ->
    case row(registry, S, Name) of
        {_, Pid, Meta, _} -> {Pid, Meta};
        none -> undefined
    end.

registry_count(S) -> ets:info(by_name(registry, S), size).

subcluster_nodes(Kind, S) -> gen_server:call(process(Kind, S), {'3.0', subcluster_nodes}).

row(Kind, S, Key) ->
    known(Kind, S),
    case ets:lookup(by_name(Kind, S), Key) of [Row] -> Row; [] -> none end.

%% For {via, ..}.
whereis_name({S, Name}) -> case lookup(S, Name) of {Pid, _} -> Pid; undefined -> undefined end.
register_name({S, Name}, Pid) -> case register(S, Name, Pid, undefined) of ok -> yes; _ -> no end.
unregister_name({S, Name}) -> ok = unregister(S, Name), Name.
send({S, Name}, Message) ->
    case whereis_name({S, Name}) of
        undefined -> exit({badarg, {{S, Name}, Message}});
        Pid -> Pid ! Message, Pid
    end.

join(S, Group, Pid, Meta) -> ok_only(set(pg, S, Group, Pid, Meta)).

update_member(S, Group, Pid, Fun) when is_function(Fun) -> set(pg, S, Group, Pid, Fun).

leave(S, Group, Pid) ->
    case ask(pg, S, node(Pid), {'3.0', leave_on_node, node(), Group, Pid}) of
        {ok, {Meta, ByPid}} when node(Pid) =/= node() ->
            delete_row(by_name(pg, S), ByPid, {Group, Pid}, Pid),
            np_syn:on_process_left(S, Group, Pid, Meta, normal),
            ok;
        {ok, {_, _}} -> ok;
        Error -> Error
    end.

members(S, Group) ->
    known(pg, S),
    ets:select(by_name(pg, S), [{{{'$1', '_'}, '$2', '$3', '_'}, [{'=:=', '$1', {const, Group}}], [{{'$2', '$3'}}]}]).

member(S, Group, Pid) ->
    case row(pg, S, {Group, Pid}) of
        {_, Pid, Meta, _} -> {Pid, Meta};
        none -> undefined
    end.

publish(S, Group, Message) ->
    Members = members(S, Group),
    [Pid ! Message || {Pid, _} <- Members],
    {ok, length(Members)}.

multi_call(S, Group, Message, Timeout) ->
    Calls = [{Member, spawn_monitor(fun() -> exit({answer, one_call(Member, Message, Timeout)}) end)}
             || Member <- members(S, Group)],
    Answers = [receive {'DOWN', Ref, process, Pid, {answer, A}} -> {Member, A} end || {Member, {Pid, Ref}} <- Calls],
    {[{Member, Reply} || {Member, {reply, Reply}} <- Answers], [Member || {Member, none} <- Answers]}.

one_call({Pid, Meta}, Message, Timeout) ->
    Ref = monitor(process, Pid),
    Pid ! {syn_multi_call, Message, {self(), Ref}, Meta},
    receive
        {syn_multi_call_reply, Ref, Reply} -> {reply, Reply};
        {'DOWN', Ref, _, _, _} -> none
    after Timeout -> none
    end.

multi_call_reply({Pid, Ref}, Reply) -> Pid ! {syn_multi_call_reply, Ref, Reply}.

%% ---- rows ----

key(registry, Name, _) -> Name;
key(pg, Group, Pid) -> {Group, Pid}.

label(registry, Name) -> Name;
label(pg, {Group, _}) -> Group.

put_row(ByName, ByPid, Key, Pid, Meta, Time) ->
    ets:insert(ByName, {Key, Pid, Meta, Time}),
    ets:insert(ByPid, {Pid, Key}).

%% Only if it is this pid's.
delete_row(ByName, ByPid, Key, Pid) ->
    ets:delete_object(ByPid, {Pid, Key}),
    case ets:lookup(ByName, Key) of
        [{_, Pid, _, _} = Row] -> ets:delete_object(ByName, Row);
        _ -> false
    end.

rows_of(Node, #scope{by_name = T}) -> [R || {_, Pid, _, _} = R <- ets:tab2list(T), node(Pid) =:= Node].

event(on_process_registered, S, Name, Pid, _, Meta, Why) -> np_syn:on_process_registered(S, Name, Pid, Meta, Why);
event(on_process_joined, S, Name, Pid, _, Meta, Why) -> np_syn:on_process_joined(S, Name, Pid, Meta, Why);
event(_, _, _, _, _, _, _) -> ok.

arrived(#scope{kind = registry, name = S}, Key, Pid, Meta, Why) -> np_syn:on_process_registered(S, Key, Pid, Meta, Why);
arrived(#scope{name = S}, {G, _}, Pid, Meta, Why) -> np_syn:on_process_joined(S, G, Pid, Meta, Why).

gone(#scope{kind = registry, name = S}, Key, Pid, Meta, Why) -> np_syn:on_process_unregistered(S, Key, Pid, Meta, Why);
gone(#scope{name = S}, {G, _}, Pid, Meta, Why) -> np_syn:on_process_left(S, G, Pid, Meta, Why).

%% ---- the scope process ----

init({Kind, S}) ->
    ok = net_kernel:monitor_nodes(true),
    State = #scope{kind = Kind, name = S, process = process(Kind, S), by_name = by_name(Kind, S),
                   by_pid = by_pid(Kind, S), sender = spawn_link(fun sender/0)},
    Rows = ets:tab2list(State#scope.by_name),
    [delete_row(State#scope.by_name, State#scope.by_pid, Key, Pid)
        || {Key, Pid, _, _} <- Rows, node(Pid) =/= node() orelse not is_process_alive(Pid)],
    {ok, lists:foldl(fun({_, Pid, _, _}, St) -> watch(Pid, St) end, State, rows_of(node(), State)),
     {continue, discover}}.

handle_continue(discover, #scope{process = Process} = State) ->
    [{Process, Node} ! {'3.0', discover, self()} || Node <- nodes()],
    {noreply, State}.

sender() ->
    receive
        {Nodes, Process, Message} -> [{Process, Node} ! Message || Node <- Nodes]
    end,
    sender().

broadcast(Message, Except, #scope{sender = Sender, process = Process, nodes = Nodes}) ->
    Sender ! {maps:keys(Nodes) -- Except, Process, Message},
    ok.

watch(Pid, #scope{watched = Watched} = State) when is_map_key(Pid, Watched) -> State;
watch(Pid, #scope{watched = Watched} = State) -> State#scope{watched = Watched#{Pid => monitor(process, Pid)}}.

handle_call({'3.0', subcluster_nodes}, _, State) -> {reply, maps:keys(State#scope.nodes), State};
handle_call({'3.0', register_or_update_on_node, Requester, Name, Pid, Value}, _, #scope{kind = registry} = State) ->
    set_here(Requester, Name, Pid, Value, State);
handle_call({'3.0', join_or_update_on_node, Requester, Group, Pid, Value}, _, #scope{kind = pg} = State) ->
    set_here(Requester, Group, Pid, Value, State);
handle_call({'3.0', unregister_on_node, Requester, Name, Pid}, _, #scope{kind = registry} = State) ->
    case ets:lookup(State#scope.by_name, Name) of
        [] -> {reply, {error, undefined}, State};
        [{_, Pid, Meta, _}] ->
            remove_here(Requester, Name, Pid, Meta, State),
            {reply, {ok, State#scope.by_pid}, State};
        _ -> {reply, {error, race_condition}, State}
    end;
handle_call({'3.0', leave_on_node, Requester, Group, Pid}, _, #scope{kind = pg} = State) ->
    case ets:lookup(State#scope.by_name, {Group, Pid}) of
        [] -> {reply, {error, not_in_group}, State};
        [{Key, _, Meta, _}] ->
            remove_here(Requester, Key, Pid, Meta, State),
            {reply, {ok, {Meta, State#scope.by_pid}}, State}
    end;
handle_call(_, _, State) -> {reply, undefined, State}.

handle_cast(_, State) ->
    version() =:= '3.3.0' andalso error(undef),
    {noreply, State}.

set_here(Requester, Name, Pid, Value, #scope{kind = Kind, by_name = ByName} = State) ->
    Key = key(Kind, Name, Pid),
    case is_process_alive(Pid) andalso ets:lookup(ByName, Key) of
        false -> {reply, {error, not_alive}, State};
        [] when is_function(Value), Kind =:= registry ->
            {reply, case version() of '3.3.0' -> {{error, undefined}, undefined}; _ -> {error, undefined} end, State};
        [] when is_function(Value) -> {reply, {error, undefined}, State};
        [] -> store(Requester, Key, Pid, new, Value, watch(Pid, State));
        [{_, Pid, Meta, _}] when is_function(Value) ->
            try case Kind of registry -> Value(Pid, Meta); pg -> Value(Meta) end of
                Meta -> {reply, {noop, Meta}, State};
                New -> store(Requester, Key, Pid, {changed, Meta}, New, State)
            catch Class:Why:Stack -> {reply, {raise, Class, Why, Stack}, State}
            end;
        [{_, Pid, Value, _}] -> {reply, {noop, Value}, State};
        [{_, Pid, Meta, _}] -> store(Requester, Key, Pid, {changed, Meta}, Value, State);
        _ -> {reply, {error, taken}, State}
    end.

store(Requester, Key, Pid, How, Meta, #scope{kind = Kind, by_name = ByName, by_pid = ByPid} = State) ->
    Time = erlang:system_time(),
    put_row(ByName, ByPid, Key, Pid, Meta, Time),
    {What, Before} = case {Kind, How} of
        {registry, new} -> {on_process_registered, undefined};
        {registry, {changed, M}} -> {on_registry_process_updated, M};
        {pg, new} -> {on_process_joined, undefined};
        {pg, {changed, M}} -> {on_group_process_updated, M}
    end,
    How =:= new andalso arrived(State, Key, Pid, Meta, normal),
    announce(Key, Pid, Meta, Time, normal, [Requester], State),
    {reply, {ok, {What, Before, Meta, Time, ByName, ByPid}}, State}.

remove_here(Requester, Key, Pid, Meta, State) ->
    delete_row(State#scope.by_name, State#scope.by_pid, Key, Pid),
    gone(State, Key, Pid, Meta, normal),
    renounce(Key, Pid, Meta, normal, [Requester], State).

announce(Key, Pid, Meta, Time, Why, Except, #scope{kind = Kind} = State) ->
    Tag = case Kind of registry -> sync_register; pg -> sync_join end,
    broadcast({'3.0', Tag, label(Kind, Key), Pid, Meta, Time, Why}, Except, State).

renounce(Key, Pid, Meta, Why, Except, #scope{kind = Kind} = State) ->
    Tag = case Kind of registry -> sync_unregister; pg -> sync_leave end,
    broadcast({'3.0', Tag, label(Kind, Key), Pid, Meta, Why}, Except, State).

%% ---- what other scope processes send ----

handle_info({'3.0', discover, Pid}, State) ->
    send_ack(node(Pid), State),
    {noreply, meet(Pid, State)};
handle_info({'3.0', ack_sync, Pid, Data}, #scope{nodes = Nodes} = State) ->
    version() =:= main andalso forget_absent(node(Pid), Data, State),
    [merge(Name, P, Meta, Time, {syn_remote_scope_node_up, State#scope.name, node(P)}, State)
        || {Name, P, Meta, Time} <- Data],
    is_map_key(node(Pid), Nodes) orelse send_ack(node(Pid), State),
    {noreply, meet(Pid, State)};
handle_info({'3.0', Tag, Name, Pid, Meta, Time, Why}, State) when Tag =:= sync_register; Tag =:= sync_join ->
    is_map_key(node(Pid), State#scope.nodes) andalso merge(Name, Pid, Meta, Time, Why, State),
    {noreply, State};
handle_info({'3.0', Tag, Name, Pid, Meta, Why}, State) when Tag =:= sync_unregister; Tag =:= sync_leave ->
    Key = key(State#scope.kind, Name, Pid),
    case ets:lookup(State#scope.by_name, Key) of
        [{_, Pid, _, _}] ->
            delete_row(State#scope.by_name, State#scope.by_pid, Key, Pid),
            gone(State, Key, Pid, Meta, Why);
        _ -> ok
    end,
    {noreply, State};
handle_info({'DOWN', _, process, Pid, Why}, State) when node(Pid) =:= node() ->
    [begin
         [{_, _, Meta, _}] = ets:lookup(State#scope.by_name, Key),
         delete_row(State#scope.by_name, State#scope.by_pid, Key, Pid),
         gone(State, Key, Pid, Meta, Why),
         renounce(Key, Pid, Meta, Why, [], State)
     end || {_, Key} <- ets:lookup(State#scope.by_pid, Pid)],
    {noreply, State#scope{watched = maps:remove(Pid, State#scope.watched)}};
handle_info({'DOWN', _, process, Pid, _}, #scope{nodes = Nodes} = State) ->
    case maps:take(node(Pid), Nodes) of
        {Pid, Others} ->
            [begin
                 delete_row(State#scope.by_name, State#scope.by_pid, Key, P),
                 gone(State, Key, P, Meta, {syn_remote_scope_node_down, State#scope.name, node(P)})
             end || {Key, P, Meta, _} <- rows_of(node(Pid), State)],
            {noreply, State#scope{nodes = Others}};
        _ -> {noreply, State}
    end;
handle_info({nodeup, Node}, #scope{process = Process, sender = Sender} = State) ->
    Sender ! {[Node], Process, {'3.0', discover, self()}},
    {noreply, State};
handle_info(_, State) -> {noreply, State}.

meet(Pid, #scope{nodes = Nodes} = State) when is_map_key(node(Pid), Nodes) -> State;
meet(Pid, #scope{nodes = Nodes} = State) ->
    monitor(process, Pid),
    State#scope{nodes = Nodes#{node(Pid) => Pid}}.

send_ack(Node, #scope{kind = Kind, process = Process, sender = Sender} = State) ->
    Ack = {'3.0', ack_sync, self(), [{label(Kind, K), P, M, T} || {K, P, M, T} <- rows_of(node(), State)]},
    case version() of
        '3.3.0' -> {Process, Node} ! Ack;
        _ -> Sender ! {[Node], Process, Ack}
    end.

forget_absent(Node, Data, #scope{kind = Kind} = State) ->
    Held = maps:from_list([{key(Kind, Name, P), true} || {Name, P, _, _} <- Data]),
    [begin
         delete_row(State#scope.by_name, State#scope.by_pid, Key, P),
         gone(State, Key, P, Meta, {syn_remote_scope_node_up, State#scope.name, Node})
     end || {Key, P, Meta, _} <- rows_of(Node, State), not is_map_key(Key, Held)].

merge(Name, Pid, Meta, Time, Why, #scope{kind = Kind, by_name = ByName, by_pid = ByPid} = State) ->
    Key = key(Kind, Name, Pid),
    case ets:lookup(ByName, Key) of
        [] ->
            put_row(ByName, ByPid, Key, Pid, Meta, Time),
            arrived(State, Key, Pid, Meta, Why);
        [{_, _, _, Before}] when Kind =:= pg -> Time > Before andalso put_row(ByName, ByPid, Key, Pid, Meta, Time);
        [{_, Pid, _, _}] -> put_row(ByName, ByPid, Key, Pid, Meta, Time);
        [{_, Mine, MyMeta, MyTime}] when node(Mine) =:= node() ->
            case {Time, MyTime, version()} of
                {T, T, '3.3.0'} -> win(Key, Mine, MyMeta, State);
                {T, T, _} when Mine > Pid -> win(Key, Mine, MyMeta, State);
                {T, T0, _} when T < T0 -> win(Key, Mine, MyMeta, State);
                _ -> lose(Key, {Mine, MyMeta}, {Pid, Meta, Time}, State)
            end;
        [{_, Other, OtherMeta, Before}] when Before < Time ->
            delete_row(ByName, ByPid, Key, Other),
            put_row(ByName, ByPid, Key, Pid, Meta, Time),
            gone(State, Key, Other, OtherMeta, Why),
            arrived(State, Key, Pid, Meta, Why);
        _ -> ok
    end.

win(Name, Mine, Meta, #scope{by_name = ByName, by_pid = ByPid} = State) ->
    Now = erlang:system_time(),
    put_row(ByName, ByPid, Name, Mine, Meta, Now),
    announce(Name, Mine, Meta, Now, syn_conflict_resolution, [], State).

lose(Name, {Mine, MyMeta}, {Pid, Meta, Time}, #scope{by_name = ByName, by_pid = ByPid} = State) ->
    delete_row(ByName, ByPid, Name, Mine),
    put_row(ByName, ByPid, Name, Pid, Meta, Time),
    exit(Mine, {syn_resolve_kill, Name, MyMeta}),
    gone(State, Name, Mine, MyMeta, syn_conflict_resolution),
    arrived(State, Name, Pid, Meta, syn_conflict_resolution),
    version() =:= '3.3.0' orelse renounce(Name, Mine, MyMeta, syn_conflict_resolution, [], State).
