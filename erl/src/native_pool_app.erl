%% @private
%% The application: the cache of worker pids under its supervisor. Native nodes are not started here but where the user wants
%% them, see native_pool_node.
-module(native_pool_app).
-behaviour(application).
-behaviour(supervisor).

-export([start/2, stop/1]).
-export([init/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    case supervisor:start_link({local, native_pool_sup}, ?MODULE, []) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} -> {error, Reason}
    end.

-spec stop(term()) -> ok.
stop(_State) ->
    ok.

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Cache = #{id => native_pool_cache, start => {native_pool_cache, start_link, []}},
    {ok, {#{strategy => one_for_one}, [Cache]}}.
