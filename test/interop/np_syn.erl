%% syn on a BEAM node of a test: the real one, or np_syn_double. All functions are for the node on which start/2 ran.
%% Also what that node's syn says happened: as syn's event handler it writes down events with their reasons.
-module(np_syn).
-export([start/2, module/0, via/2, pids/0]).
-export([view/1, row/2, events/0, events/1, found/0]).
-export([on_process_registered/5, on_process_unregistered/5, on_process_joined/5, on_process_left/5]).

-define(EVENTS, np_syn_events).

%% {double, Version} or {real, Version, EbinDir}.
start({double, Version}, Scopes) ->
    events_table(),
    ok = np_syn_double:start(Version),
    persistent_term:put(?MODULE, np_syn_double),
    np_syn_double:add_node_to_scopes(Scopes);
start({real, Version, Ebin}, Scopes) ->
    events_table(),
    true = code:add_patha(Ebin),
    ok = application:start(syn),
    {ok, Version} = application:get_key(syn, vsn),
    persistent_term:put(?MODULE, syn),
    ok = erlang:apply(syn, set_event_handler, [?MODULE]),
    erlang:apply(syn, add_node_to_scopes, [Scopes]).

module() -> persistent_term:get(?MODULE).

via(Scope, Name) -> {via, module(), {Scope, Name}}.

%% The scope processes of this node.
pids() -> [{N, whereis(N)} || N <- lists:sort(registered()), "syn_" ++ Rest <- [atom_to_list(N)],
           lists:prefix("registry_", Rest) orelse lists:prefix("pg_", Rest)].

%% {[{Name, Pid, Meta}], [{Group, Pid, Meta}]}, sorted.
view(Scope) ->
    {lists:sort([{element(1, R), element(2, R), element(3, R)} || R <- rows("syn_registry_by_name_", Scope)]),
     lists:sort([member(R) || R <- rows("syn_pg_by_name_", Scope)])}.

rows(Prefix, Scope) -> ets:tab2list(list_to_existing_atom(Prefix ++ atom_to_list(Scope))).

member({{Group, Pid}, Pid, Meta, _}) -> {Group, Pid, Meta};
member({{Group, Pid}, Meta, _, _, _}) -> {Group, Pid, Meta}.

%% {Pid, Meta, Time} or undefined.
row(Scope, Name) ->
    case ets:lookup(list_to_existing_atom("syn_registry_by_name_" ++ atom_to_list(Scope)), Name) of
        [R] -> {element(2, R), element(3, R), element(4, R)};
        [] -> undefined
    end.

%% ---- events: {What, Scope, NameOrGroup, Pid, Meta, Reason}, first to last ----

events() -> [E || {_, E} <- ets:tab2list(?EVENTS)].

events(NameOrGroup) -> [E || E <- events(), element(3, E) =:= NameOrGroup].

events_table() ->
    Self = self(),
    Pid = spawn(fun() ->
        ets:new(?EVENTS, [ordered_set, public, named_table, {write_concurrency, true}]),
        Self ! {self(), up},
        receive never -> ok end
    end),
    receive {Pid, up} -> ok end.

note(Event) -> ets:insert(?EVENTS, {erlang:unique_integer([monotonic]), Event}).

on_process_registered(Scope, Name, Pid, Meta, Reason) -> note({registered, Scope, Name, Pid, Meta, Reason}).
on_process_unregistered(Scope, Name, Pid, Meta, Reason) -> note({unregistered, Scope, Name, Pid, Meta, Reason}).
on_process_joined(Scope, Group, Pid, Meta, Reason) -> note({joined, Scope, Group, Pid, Meta, Reason}).
on_process_left(Scope, Group, Pid, Meta, Reason) -> note({left, Scope, Group, Pid, Meta, Reason}).

%% ---- which real ones there are: [{real, Version, EbinDir}], by NP_SYN_LIBS (which is as ERL_LIBS) and ERL_LIBS ----

found() ->
    Roots = lists:append([string:lexemes(os:getenv(V, ""), ":") || V <- ["NP_SYN_LIBS", "ERL_LIBS"]]),
    Apps = lists:append([filelib:wildcard(filename:join(R, P)) || R <- Roots,
                         P <- ["*/ebin/syn.app", "ebin/syn.app"]]),
    lists:usort(fun({real, A, _}, {real, B, _}) -> A =< B end, [{real, version_in(App), filename:dirname(App)}
        || App <- Apps]).

version_in(App) ->
    {ok, [{application, syn, Keys}]} = file:consult(App),
    proplists:get_value(vsn, Keys).
