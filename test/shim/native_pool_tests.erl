%% The calls of native_pool, against a pool whose server and workers are Erlang processes of this node.
-module(native_pool_tests).
-behaviour(gen_server).
-include_lib("eunit/include/eunit.hrl").
-export([init/1, handle_call/3, handle_cast/2]).

-define(POOL, 'Elixir.ShimPool').
-define(SERVER_NAME, 'Elixir.ShimPool.Server').

with_cache_test_() -> {foreach, fun() -> start(true) end, fun stop/1, cases()}.
without_cache_test_() -> {foreach, fun() -> start(false) end, fun stop/1, cases()}.

cases() ->
    [
        {"call", fun calls/0},
        {"cast", fun casts/0},
        {"whereis", fun finds/0},
        {"restarted worker", fun finds_a_restarted_worker/0},
        {"crash in a call", fun reports_a_crash/0},
        {"time-out", fun times_out/0},
        {"options", fun options/0},
        {"no pool", fun no_pool/0},
        {"nothing late in the mailbox", fun nothing_late/0},
        {"syn's table", fun reads_syns_table/0},
        {"members", fun members/0},
        {"ping and nodes", fun ping_and_nodes/0}
    ].

start(Cache) ->
    case Cache of
        true -> {ok, _} = application:ensure_all_started(native_pool);
        false -> ok
    end,
    {ok, Server} = gen_server:start({local, ?SERVER_NAME}, ?MODULE, {server, #{}}, []),
    put_worker(1),
    Server.

stop(Server) ->
    case erlang:whereis(?SERVER_NAME) of
        undefined -> ok;
        _ -> gen_server:stop(Server)
    end,
    ok = logger:set_primary_config(level, none),
    _ = application:stop(native_pool),
    ok = logger:set_primary_config(level, notice).

calls() ->
    ?assertEqual({ok, {echo, hello}}, native_pool:call(?POOL, 1, hello)),
    ?assertEqual({ok, {echo, hello}}, native_pool:call(?POOL, 1, hello, 1000)),
    ?assertEqual({ok, {echo, hello}}, native_pool:call(?POOL, 1, hello, infinity)),
    ?assertEqual({error, not_registered}, native_pool:call(?POOL, 2, hello)).

casts() ->
    ?assertEqual(ok, native_pool:cast(?POOL, 1, {remember, x})),
    ?assertEqual({ok, x}, native_pool:call(?POOL, 1, remembered)),
    ?assertEqual({error, not_registered}, native_pool:cast(?POOL, 2, x)).

%% A module syn that knows the scope of another pool, as a node with syn has it.
with_syn(Fun) ->
    Forms = [
        "-module(syn).",
        "-export([lookup/2, members/2]).",
        "lookup('Elixir.SynPool.Registry', {worker, {ref, 'Elixir.SynPool.Worker', 1}}) -> {whereis(init), []};"
        "lookup('Elixir.SynPool.Registry', _) -> undefined;"
        "lookup(Scope, _) -> error({invalid_scope, Scope}).",
        "members(users, g) -> [{whereis(init), m}]; members(users, _) -> [];"
        "members(Scope, _) -> error({invalid_scope, Scope})."
    ],
    Parsed = [begin {ok, T, _} = erl_scan:string(F), {ok, P} = erl_parse:parse_form(T), P end || F <- Forms],
    {ok, syn, Binary} = compile:forms(Parsed, []),
    {module, syn} = code:load_binary(syn, "syn.erl", Binary),
    try
        Fun()
    after
        true = code:delete(syn),
        code:purge(syn)
    end.

reads_syns_table() ->
    with_syn(fun() ->
        Init = erlang:whereis(init),
        ?assertEqual({ok, Init}, native_pool:whereis('Elixir.SynPool', 1)),
        ?assertEqual({ok, Init}, native_pool:whereis('Elixir.SynPool', {ref, 'Elixir.SynPool.Worker', 1})),
        %% not in the table: the nodes are asked, of which none serves this pool
        ?assertEqual({error, no_pool}, native_pool:whereis('Elixir.SynPool', 2)),
        %% not in the scope: as without syn
        ?assertMatch({ok, _}, native_pool:whereis(?POOL, 1))
    end).

members() ->
    ?assertEqual({error, no_scope}, native_pool:members(users, g)),
    with_syn(fun() ->
        ?assertEqual({ok, [{erlang:whereis(init), m}]}, native_pool:members(users, g)),
        ?assertEqual({ok, []}, native_pool:members(users, h)),
        ?assertEqual({error, no_scope}, native_pool:members(others, g))
    end).

finds() ->
    {ok, Pid} = native_pool:whereis(?POOL, 1),
    ?assertEqual({ok, Pid}, native_pool:whereis(?POOL, 1)),
    ?assert(is_process_alive(Pid)),
    ?assertEqual({error, not_registered}, native_pool:whereis(?POOL, 2)).

finds_a_restarted_worker() ->
    {ok, Old} = native_pool:whereis(?POOL, 1),
    ok = gen_server:stop(Old),
    put_worker(1),
    ?assertEqual({ok, {echo, again}}, native_pool:call(?POOL, 1, again)),
    {ok, New} = native_pool:whereis(?POOL, 1),
    ?assert(New =/= Old).

reports_a_crash() ->
    ?assertEqual({error, {worker_crashed, oops}}, native_pool:call(?POOL, 1, {exit, oops})).

times_out() ->
    ?assertEqual({error, timeout}, native_pool:call(?POOL, 1, {sleep, 300}, 50)),
    {ok, {echo, still}} = native_pool:call(?POOL, 1, still).

options() ->
    ?assertEqual({ok, {echo, a}}, native_pool:call(?POOL, 1, a, [{timeout, 1000}])),
    ?assertEqual({ok, {echo, a}}, native_pool:call(?POOL, 1, a, #{timeout => infinity})),
    ?assertEqual({error, {invalid_option, {colour, red}}}, native_pool:call(?POOL, 1, a, [{colour, red}])),
    ?assertEqual({error, {invalid_option, -1}}, native_pool:call(?POOL, 1, a, -1)),
    ?assertEqual({error, {invalid_option, {timeout, soon}}}, native_pool:call(?POOL, 1, a, #{timeout => soon})).

no_pool() ->
    ?assertEqual({error, no_pool}, native_pool:call('Elixir.NoPool', 1, a)),
    gen_server:stop(?SERVER_NAME),
    ?assertEqual({error, no_pool}, native_pool:whereis(?POOL, 3)).

nothing_late() ->
    {error, timeout} = native_pool:call(?POOL, 1, {sleep, 100}, 10),
    {error, timeout} = native_pool:call(?POOL, slow_lookup, x, 10),
    timer:sleep(200),
    ?assertEqual([], [M || M <- element(2, process_info(self(), messages)), not is_tuple(M) orelse element(1, M) =/= log]).

ping_and_nodes() ->
    ?assertEqual(pang, native_pool:ping('nobody@127.0.0.1', 500)),
    ?assertEqual([], native_pool:nodes()).

%%% the stand-ins

put_worker(Id) ->
    {ok, Pid} = gen_server:start(?MODULE, {worker, none}, []),
    ok = gen_server:call(?SERVER_NAME, {put, Id, Pid}).

init(State) -> {ok, State}.

handle_call({put, Id, Pid}, _From, {server, Workers}) ->
    {reply, ok, {server, Workers#{Id => Pid}}};
handle_call({whereis, slow_lookup}, _From, State) ->
    timer:sleep(50),
    {reply, {error, not_registered}, State};
handle_call({whereis, Id}, _From, {server, Workers} = State) ->
    case Workers of
        #{Id := Pid} -> {reply, {ok, Pid}, State};
        _ -> {reply, {error, not_registered}, State}
    end;
handle_call({sleep, Ms}, _From, State) ->
    timer:sleep(Ms),
    {reply, slept, State};
handle_call({exit, Reason}, _From, State) ->
    ok = logger:set_primary_config(level, none),
    {stop, Reason, State};
handle_call(remembered, _From, {worker, Value} = State) ->
    {reply, Value, State};
handle_call(Request, _From, State) ->
    {reply, {echo, Request}, State}.

handle_cast({remember, Value}, {worker, _}) -> {noreply, {worker, Value}}.
