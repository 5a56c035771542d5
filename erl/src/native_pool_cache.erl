%% @private
%% Pids of workers, by pool and id, so that a call need not ask a pool's server first.
%%
%% Callers read the ETS table themselves; this process owns it, writes it, and monitors every pid in it: an entry goes when its
%% worker or node does. So a pid that is found is alive but for the time a DOWN takes, and a caller that meets `noproc' looks it
%% up anew. Without this process (the application is not started) lookups find nothing and puts do nothing.
-module(native_pool_cache).
-behaviour(gen_server).

-export([start_link/0, find/2, put/3, drop/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(TABLE, ?MODULE).
%% Entries at most; more pids than that are looked up at each call. A bound, since every entry costs a monitor on both nodes.
-define(ENTRIES_MAX, 200000).

-type key() :: {native_pool:pool(), native_pool:id()}.
-type state() :: #{reference() => {key(), pid()}}.

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec find(native_pool:pool(), native_pool:id()) -> {ok, pid()} | error.
find(Pool, Id) ->
    try ets:lookup(?TABLE, {Pool, Id}) of
        [{_, Pid, _}] -> {ok, Pid};
        [] -> error
    catch
        error:badarg -> error
    end.

-spec put(native_pool:pool(), native_pool:id(), pid()) -> ok.
put(Pool, Id, Pid) ->
    gen_server:cast(?MODULE, {put, {Pool, Id}, Pid}).

%% Forgets an entry if it is (still) this pid; done when it returns.
-spec drop(native_pool:pool(), native_pool:id(), pid()) -> ok.
drop(Pool, Id, Pid) ->
    try
        gen_server:call(?MODULE, {drop, {Pool, Id}, Pid})
    catch
        exit:_ -> ok
    end.

-spec init([]) -> {ok, state()}.
init([]) ->
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    {ok, #{}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call({drop, Key, Pid}, _From, State) ->
    case ets:lookup(?TABLE, Key) of
        [{_, Pid, Ref}] -> {reply, ok, forget(Ref, State)};
        _ -> {reply, ok, State}
    end;
handle_call(Request, _From, State) ->
    {reply, {error, {unknown_call, Request}}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({put, Key, Pid}, State) ->
    case ets:lookup(?TABLE, Key) of
        [{_, Pid, _}] -> {noreply, State};
        [{_, _Other, Ref}] -> {noreply, remember(Key, Pid, forget(Ref, State))};
        [] when map_size(State) < ?ENTRIES_MAX -> {noreply, remember(Key, Pid, State)};
        [] -> {noreply, State}
    end;
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({'DOWN', Ref, process, _Pid, _Reason}, State) ->
    {noreply, forget(Ref, State)};
handle_info(_Message, State) ->
    {noreply, State}.

remember(Key, Pid, State) ->
    Ref = erlang:monitor(process, Pid),
    true = ets:insert(?TABLE, {Key, Pid, Ref}),
    State#{Ref => {Key, Pid}}.

forget(Ref, State) ->
    case maps:take(Ref, State) of
        {{Key, _Pid}, Rest} ->
            erlang:demonitor(Ref, [flush]),
            true = ets:delete(?TABLE, Key),
            Rest;
        error ->
            State
    end.
