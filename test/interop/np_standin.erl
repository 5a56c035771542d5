%% A plain BEAM node in the native node's place (run --beam): the fixed names, held by gen_servers that do what the
%% example workers do. A case that fails here expects something OTP does not do.
-module(np_standin).
-behaviour(gen_server).
-export([main/0, start_link/3, start_server/2, start_sup/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

main() ->
    Pools = [{'Elixir.MyPool', counter, [1, 2, 3]}, {'Elixir.Echo', echo, [1, 2]}, {'Elixir.Kv', kv, [1]}],
    spawn(fun() ->
        process_flag(trap_exit, true),
        [{ok, _} = start_pool(P) || P <- Pools],
        [{ok, _} = start_worker(Pool, Type, Id) || {Pool, Type, Ids} <- Pools, Id <- Ids],
        io:format("native_pool: ready ~s~n", [node()]),
        receive never -> ok end
    end).

name(Pool, Part) -> list_to_atom(lists:concat([Pool, ".", Part])).

start_pool({Pool, Type, _}) ->
    start_sup(Pool, one_for_one,
              [#{id => name(Pool, "Server"), start => {?MODULE, start_server, [Pool, Type]}},
               #{id => name(Pool, "WorkerSupervisor"), type => supervisor,
                 start => {?MODULE, start_sup, [name(Pool, "WorkerSupervisor"), dynamic, Type]}}]).

%% Elixir's DynamicSupervisor is on the path of Debian's Elixir only; a gen_server that forwards would hide more than it
%% shows, so the worker supervisor is a small one of our own, and its which_children/count_children are OTP's shape.
start_sup(Name, dynamic, Type) -> gen_server:start_link({local, Name}, ?MODULE, {sup, Type, name_pool(Name)}, []);
start_sup(Name, Strategy, Children) ->
    supervisor:start_link({local, Name}, np_standin_sup, {#{strategy => Strategy, intensity => 100, period => 1},
                                                          Children}).

name_pool(Name) -> list_to_atom(filename:rootname(atom_to_list(Name))).

start_server(Pool, Type) -> gen_server:start_link({local, name(Pool, "Server")}, ?MODULE, {server, Pool, Type}, []).

start_link(Type, Ref, Args) -> gen_server:start_link(?MODULE, {worker, Type, Ref, Args}, []).

start_worker(Pool, _Type, Id) ->
    M = name(Pool, "Worker"),
    gen_server:call(name(Pool, "WorkerSupervisor"), {start_child, {{M, start_link, [{ref, M, Id}, []]}, permanent,
        5000, worker, [M]}}).

init({worker, Type, _Ref, _Args}) -> {ok, {Type, worker_state(Type)}};
init({server, Pool, Type}) -> {ok, {server, Pool, Type}};
init({sup, Type, Pool}) ->
    process_flag(trap_exit, true),
    {ok, {sup, Type, Pool, #{}}}.

worker_state(counter) -> 0;
worker_state(echo) -> 0;
worker_state(kv) -> {#{}, []}.

handle_call(increment, _, {counter, N}) -> {reply, N + 1, {counter, N + 1}};
handle_call({add, A}, _, {counter, N}) when is_integer(A) -> {reply, N + A, {counter, N + A}};
handle_call(get, _, {counter, N} = S) -> {reply, N, S};
handle_call(sunk, _, {echo, N}) -> {reply, N, {echo, 0}};
handle_call(Any, _, {echo, _} = S) -> {reply, Any, S};
handle_call({put, K, V}, _, {kv, S}) -> {reply, ok, {kv, put(K, V, S)}};
handle_call({put, K, V, Ttl}, _, {kv, S}) ->
    erlang:send_after(Ttl, self(), {expire, K}),
    {reply, ok, {kv, put(K, V, S)}};
handle_call({get, K}, _, {kv, {Map, _}} = S) ->
    {reply, case Map of #{K := V} -> {ok, V}; _ -> {error, not_found} end, S};
handle_call({delete, K}, _, {kv, {Map, W}}) -> {reply, ok, {kv, {maps:remove(K, Map), W}}};
handle_call(size, _, {kv, {Map, _}} = S) -> {reply, map_size(Map), S};
handle_call({await, K, Timeout}, From, {kv, {Map, W}}) ->
    case Map of
        #{K := V} -> {reply, {ok, V}, {kv, {Map, W}}};
        _ -> erlang:send_after(Timeout, self(), {give_up, From}), {noreply, {kv, {Map, [{K, From} | W]}}}
    end;
handle_call({whereis, Id}, _, {server, Pool, _} = S) ->
    {reply, gen_server:call(name(Pool, "WorkerSupervisor"), {whereis, {ref, name(Pool, "Worker"), Id}}), S};
handle_call({start_worker, Id, _}, _, {server, Pool, Type} = S) -> {reply, start_worker(Pool, Type, Id), S};
handle_call({whereis, Ref}, _, {sup, _, _, Children} = S) ->
    {reply, case [P || {P, {R, _}} <- maps:to_list(Children), R =:= Ref] of [P] -> {ok, P};
     [] -> {error, not_registered} end, S};
handle_call({start_child, {{_, _, [Ref | Args]}, Restart, _, _, _}}, _, {sup, Type, Pool, Children} = S) ->
    case [P || {P, {R, _}} <- maps:to_list(Children), R =:= Ref] of
        [P] -> {reply, {error, {already_started, P}}, S};
        [] ->
            {ok, P} = start_link(Type, Ref, Args),
            {reply, {ok, P}, {sup, Type, Pool, Children#{P => {Ref, Restart}}}}
    end;
handle_call({terminate_child, Pid}, _, {sup, Type, Pool, Children} = S) ->
    case Children of
        #{Pid := _} -> exit(Pid, shutdown), {reply, ok, {sup, Type, Pool, maps:remove(Pid, Children)}};
        _ -> {reply, {error, not_found}, S}
    end;
handle_call(which_children, _, {sup, _, Pool, Children} = S) ->
    {reply, [{undefined, P, worker, [name(Pool, "Worker")]} || P <- maps:keys(Children)], S};
handle_call(count_children, _, {sup, _, _, Children} = S) ->
    N = map_size(Children),
    {reply, [{specs, N}, {active, N}, {supervisors, 0}, {workers, N}], S};
handle_call({start_task, _, _, _}, _, {sup, _, _, _} = S) -> {reply, {error, notsup}, S};
handle_call(Msg, _, S) -> {reply, {unhandled, Msg}, S}.

handle_cast(increment, {counter, N}) -> {noreply, {counter, N + 1}};
handle_cast({add, A}, {counter, N}) when is_integer(A) -> {noreply, {counter, N + A}};
handle_cast(_, {echo, N}) -> {noreply, {echo, N + 1}};
handle_cast(_, S) -> {noreply, S}.

handle_info({expire, K}, {kv, {Map, W}}) -> {noreply, {kv, {maps:remove(K, Map), W}}};
handle_info({give_up, From}, {kv, {Map, W}}) ->
    case lists:keytake(From, 2, W) of
        {value, _, Rest} -> gen_server:reply(From, {error, timeout}), {noreply, {kv, {Map, Rest}}};
        false -> {noreply, {kv, {Map, W}}}
    end;
handle_info({'EXIT', Pid, Reason}, {sup, Type, Pool, Children} = S) ->
    case Children of
        #{Pid := {Ref, permanent}} when Reason =/= shutdown ->
            {ok, New} = start_link(Type, Ref, []),
            {noreply, {sup, Type, Pool, (maps:remove(Pid, Children))#{New => {Ref, permanent}}}};
        #{Pid := _} -> {noreply, {sup, Type, Pool, maps:remove(Pid, Children)}};
        _ -> {noreply, S}
    end;
handle_info(_, S) -> {noreply, S}.

put(K, V, {Map, Waiting}) ->
    {Mine, Others} = lists:partition(fun({Key, _}) -> Key =:= K end, Waiting),
    [gen_server:reply(From, {ok, V}) || {_, From} <- Mine],
    {Map#{K => V}, Others}.
