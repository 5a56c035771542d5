%% @doc Calls to the workers of native pools.
%%
%% A pool is named by its atom (`` 'Elixir.MyPool' ``, in Elixir `MyPool'), a worker in it by its id, any term. Nothing here
%% raises for a dead, slow or missing worker, pool or node: such things are `` {error, Reason} ''. A worker can just as well be
%% called with gen_server and friends: {@link whereis/2} gives its pid.
%%
%% A pool is served by every connected node where a process named `` 'POOL.Server' '' answers (protocol of the native node:
%% `` {whereis, Id} '' gives `` {ok, Pid} | {error, not_registered} ''). Pids are cached while the application `native_pool' runs.
-module(native_pool).

-compile({no_auto_import, [nodes/0]}).

-export([call/3, call/4, cast/3, whereis/2, members/2, nodes/0, ping/1, ping/2]).

-export_type([pool/0, id/0, options/0, find_error/0, call_error/0]).

-type pool() :: module().
%% The atom of a pool.
-type id() :: term().
%% The id of a worker, as in its ref `{ref, Module, Id}'.
-type options() :: [{timeout, timeout()}] | #{timeout => timeout()}.
%% `timeout' in milliseconds, for all of a call: to find the worker and to have its answer. Default 60000.
-type find_error() ::
    %% the pool has no such worker
    not_registered
    %% no connected node serves the pool
    | no_pool
    %% no answer within the time-out; a worker that was called may have done it nevertheless
    | timeout.
-type call_error() ::
    find_error()
    %% the connection to the worker's node went during the call
    | {nodedown, node()}
    %% the worker ended during the call, for this reason
    | {worker_crashed, term()}
    %% an option that is not known, or has a wrong value
    | {invalid_option, term()}.

-define(CALL_MS, 60000).
-define(FIND_MS, 5000).
-define(PING_MS, 5000).

%% @equiv call(Pool, Id, Request, [])
-spec call(pool(), id(), term()) -> {ok, Reply :: term()} | {error, call_error()}.
call(Pool, Id, Request) ->
    call(Pool, Id, Request, ?CALL_MS).

%% @doc Calls a worker that is running and returns its reply.
%%
%% The last argument is a time-out in milliseconds, `infinity', or a list or map of options. A worker that died since its pid was
%% cached is looked up anew, so that a restarted one is found; a request is never carried out twice.
-spec call(pool(), id(), term(), timeout() | options()) -> {ok, Reply :: term()} | {error, call_error()}.
call(Pool, Id, Request, Options) when is_atom(Pool) ->
    case timeout(Options, ?CALL_MS) of
        {ok, Timeout} -> call_until(Pool, Id, Request, deadline(Timeout));
        {error, _} = Error -> Error
    end.

%% @doc Sends a cast to a worker that is running.
%%
%% `ok' says that the worker was there a moment ago, not that it has received or done anything.
-spec cast(pool(), id(), term()) -> ok | {error, find_error()}.
cast(Pool, Id, Message) ->
    case whereis(Pool, Id) of
        {ok, Pid} -> gen_server:cast(Pid, Message);
        {error, _} = Error -> Error
    end.

%% @doc The pid of a worker.
%%
%% Where syn runs on this node and is in the scope `` 'POOL.Registry' '', its table has it; else it is remembered from last time, or
%% the nodes that serve the pool are asked (within 5 s).
-spec whereis(pool(), id()) -> {ok, pid()} | {error, find_error()}.
whereis(Pool, Id) when is_atom(Pool) ->
    case find_here(Pool, Id) of
        {ok, _} = Found -> Found;
        error -> find(Pool, Id, deadline(?FIND_MS))
    end.

%% @doc The members of a group in a syn scope, with their metadata.
%%
%% Where syn runs on this node and is in the scope, its table has them; else the first connected native node that is in the scope
%% is asked (within 5 s). `no_scope': there is none.
-spec members(Scope :: atom(), Group :: term()) -> {ok, [{pid(), Meta :: term()}]} | {error, no_scope | timeout}.
members(Scope, Group) when is_atom(Scope) ->
    case syn(members, Scope, Group) of
        {ok, _} = Members -> Members;
        error -> ask_members(Scope, Group)
    end.

%% @doc The native nodes this node is connected to.
-spec nodes() -> [node()].
nodes() ->
    %% Only native nodes know this function; on a BEAM node it is undefined, with or without this application.
    Connected = erlang:nodes(connected),
    Results = erpc:multicall(Connected, ?MODULE, stats, [], ?PING_MS),
    [Node || {Node, {ok, _}} <- lists:zip(Connected, Results)].

%% @equiv ping(Node, 5000)
-spec ping(node()) -> pong | pang.
ping(Node) ->
    ping(Node, ?PING_MS).

%% @doc As net_adm:ping/1, of native and other nodes, but ends after Timeout milliseconds even if the other side hangs.
-spec ping(node(), timeout()) -> pong | pang.
ping(Node, Timeout) when is_atom(Node) ->
    try gen_server:call({net_kernel, Node}, {is_auth, node()}, Timeout) of
        yes -> pong;
        _ -> pang
    catch
        exit:_ -> pang
    end.

%%% calls

call_until(Pool, Id, Request, Deadline) ->
    case find_here(Pool, Id) of
        {ok, Pid} ->
            case call_pid(Pid, Request, Deadline) of
                {error, not_registered} ->
                    native_pool_cache:drop(Pool, Id, Pid),
                    find_and_call(Pool, Id, Request, Deadline);
                Result ->
                    Result
            end;
        error ->
            find_and_call(Pool, Id, Request, Deadline)
    end.

find_and_call(Pool, Id, Request, Deadline) ->
    case find(Pool, Id, Deadline) of
        {ok, Pid} -> call_pid(Pid, Request, Deadline);
        {error, _} = Error -> Error
    end.

%% `not_registered' is for a worker that was dead before the request reached it: the one case where another try cannot make it
%% happen twice.
call_pid(Pid, Request, Deadline) ->
    try
        {ok, gen_server:call(Pid, Request, remaining(Deadline))}
    catch
        exit:{noproc, _} -> {error, not_registered};
        exit:{timeout, _} -> {error, timeout};
        exit:{{nodedown, Node}, _} -> {error, {nodedown, Node}};
        exit:{noconnection, _} -> {error, {nodedown, node(Pid)}};
        exit:{Reason, _} -> {error, {worker_crashed, Reason}}
    end.

%%% finding a worker

%% What this node knows without asking: syn's table, else the cache. A pool with another worker module than POOL.Worker is not
%% found in syn's table, but by the nodes.
find_here(Pool, Id) ->
    case syn(lookup, suffix(Pool, ".Registry"), {worker, ref(Pool, Id)}) of
        {ok, {Pid, _Meta}} -> {ok, Pid};
        {ok, undefined} -> error;
        error -> native_pool_cache:find(Pool, Id)
    end.

ref(_Pool, {ref, _, _} = Ref) -> Ref;
ref(Pool, Id) -> {ref, suffix(Pool, ".Worker"), Id}.

%% syn is optional: `error' where it does not run, or is not in the scope.
syn(Function, Scope, Key) ->
    case erlang:function_exported(syn, Function, 2) of
        true ->
            try
                {ok, syn:Function(Scope, Key)}
            catch
                error:_ -> error
            end;
        false ->
            error
    end.

ask_members(Scope, Group) ->
    Connected = erlang:nodes(connected),
    Results = erpc:multicall(Connected, ?MODULE, members, [Scope, Group], ?FIND_MS),
    case [Members || {ok, Members} <- Results, is_list(Members)] of
        [Members | _] ->
            {ok, Members};
        [] ->
            case lists:member({error, {erpc, timeout}}, Results) of
                true -> {error, timeout};
                false -> {error, no_scope}
            end
    end.

%% Asks the pool's server on all connected nodes (and this one) at once, and takes the first that has the worker.
find(Pool, Id, Deadline) ->
    Server = server(Pool),
    Requests = [gen_server:send_request({Server, Node}, {whereis, Id}) || Node <- erlang:nodes([this, connected])],
    case collect(Requests, Deadline, no_pool) of
        {ok, Pid} = Found ->
            native_pool_cache:put(Pool, Id, Pid),
            Found;
        Error ->
            {error, Error}
    end.

%% Goes on after a hit only to take the other answers out of the mailbox.
collect([], _Deadline, Result) ->
    Result;
collect([Request | Rest], Deadline, Result) ->
    Answer =
        case Result of
            {ok, _} -> gen_server:receive_response(Request, 0);
            _ -> gen_server:receive_response(Request, remaining(Deadline))
        end,
    collect(Rest, Deadline, better(Answer, Result)).

better(_, {ok, _} = Found) -> Found;
better({reply, {ok, Pid}}, _) when is_pid(Pid) -> {ok, Pid};
better({reply, {error, not_registered}}, _) -> not_registered;
better(timeout, no_pool) -> timeout;
better(_, Result) -> Result.

%% An atom that exists wherever the pool does; made here at most once for each pool the program names.
server(Pool) -> suffix(Pool, ".Server").

suffix(Pool, Suffix) -> binary_to_atom(<<(atom_to_binary(Pool))/binary, (list_to_binary(Suffix))/binary>>).

%%% time

timeout(Timeout, _Default) when Timeout =:= infinity; is_integer(Timeout), Timeout >= 0 ->
    {ok, Timeout};
timeout(Options, Default) when is_map(Options) ->
    timeout(maps:to_list(Options), Default);
timeout([{timeout, Timeout} | Rest], _Default) when Timeout =:= infinity; is_integer(Timeout), Timeout >= 0 ->
    timeout(Rest, Timeout);
timeout([], Timeout) ->
    {ok, Timeout};
timeout([Option | _], _Default) ->
    {error, {invalid_option, Option}};
timeout(Other, _Default) ->
    {error, {invalid_option, Other}}.

deadline(infinity) -> infinity;
deadline(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

remaining(infinity) -> infinity;
remaining(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).
