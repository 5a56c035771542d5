%% The yardstick of the syn benchmark: gen_servers under a supervisor on a BEAM node, each registered in a syn scope
%% when it begins, as AdvancedPool does it. Both the supervisor's module and the workers'.
-module(np_bench_syn_peer).
-export([main/0, bulk/3, name/2]).
-export([start_link/2, init/1, handle_call/3, handle_cast/2]).

-define(SYN, syn).

%% erl -run np_bench_syn_peer main, on the target node.
main() ->
    logger:set_primary_config(level, error),
    {ok, _} = application:ensure_all_started(?SYN),
    ok = erlang:apply(?SYN, add_node_to_scopes, [['Elixir.BenchBeam.Registry']]),
    {ok, Sup} = supervisor:start_link({local, ?MODULE}, ?MODULE, supervisor),
    unlink(Sup),
    io:format("ready~n").

%% Starts a range of workers from here, without a call from outside for each.
bulk(Scope, From, To) ->
    [{ok, _} = supervisor:start_child(?MODULE, [Scope, Id]) || Id <- lists:seq(From, To)],
    ok.

name(Module, Id) -> {worker, {ref, Module, Id}}.

start_link(Scope, Id) -> gen_server:start_link(?MODULE, {Scope, Id}, []).

init(supervisor) ->
    {ok, {#{strategy => simple_one_for_one}, [#{id => worker, start => {?MODULE, start_link, []},
                                                restart => temporary}]}};
init({Scope, Id}) ->
    ok = erlang:apply(?SYN, register, [Scope, name('Elixir.BenchBeam.Worker', Id), self(), [{node, node()}]]),
    {ok, 0}.

handle_call(Any, _, Casts) -> {reply, Any, Casts}.
handle_cast(_, Casts) -> {noreply, Casts + 1}.
