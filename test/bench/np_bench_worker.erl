%% The yardstick: what the echo worker does, as a plain gen_server on a plain BEAM node.
-module(np_bench_worker).
-behaviour(gen_server).
-export([main/0, start/1]).
-export([init/1, handle_call/3, handle_cast/2]).

%% erl -run np_bench_worker main, on the target node.
main() ->
    register(?MODULE, spawn(fun() -> serve() end)),
    io:format("ready~n").

serve() -> receive {start, From, N} -> From ! {pids, start(N)}, serve() end.

start(N) -> [begin {ok, P} = gen_server:start(?MODULE, [], []), P end || _ <- lists:seq(1, N)].

init([]) -> {ok, 0}.

handle_call(sunk, _, Casts) -> {reply, Casts, 0};
handle_call(Any, _, Casts) -> {reply, Any, Casts}.

handle_cast(_, Casts) -> {noreply, Casts + 1}.
