%% The shim against the program itself (environment NP_PROGRAM), on this distributed node: started under a supervisor, called,
%% killed, restarted, stopped with its BEAM.
-module(native_pool_live_tests).
-include_lib("eunit/include/eunit.hrl").
-export([hold/1]).

-define(POOL, 'Elixir.MyPool').

all_test_() ->
    [
        {Title, {timeout, 60, fun() -> with_node(Test) end}}
     || {Title, Test} <- [
            {"calls and casts", fun calls/1},
            {"who is there", fun who_is_there/1},
            {"node killed in a call", fun killed_in_a_call/1},
            {"worker gone", fun worker_gone/1},
            {"cookie is not in the open", fun cookie_is_hidden/1},
            {"name taken", fun name_taken/1},
            {"ends with its BEAM", fun ends_with_its_beam/1}
        ]
    ].

options(Name) ->
    #{
        name => Name,
        config => os:getenv("NP_CONFIG"),
        program => os:getenv("NP_PROGRAM")
    }.

%% Runs Test with the name of a native node that a supervisor keeps.
with_node(Test) ->
    process_flag(trap_exit, true),
    ok = logger:set_primary_config(level, none),
    {ok, _} = application:ensure_all_started(native_pool),
    Name = unique(),
    {ok, Sup} = supervisor:start_link(native_pool_test_sup, [native_pool_node:child_spec(options(Name))]),
    try
        connected(Name),
        Test({Name, Sup})
    after
        #{os_pid := OsPid} = info(Sup),
        unlink(Sup),
        ok = gen_server:stop(Sup),
        ?assertNot(is_running(OsPid)),
        _ = application:stop(native_pool),
        ok = logger:set_primary_config(level, notice)
    end.

calls(_) ->
    ?assertEqual({ok, 1}, native_pool:call(?POOL, 1, increment)),
    ?assertEqual({ok, 3}, native_pool:call(?POOL, 1, {add, 2}, 1000)),
    ?assertEqual(ok, native_pool:cast(?POOL, 1, increment)),
    ?assertEqual({ok, 4}, native_pool:call(?POOL, 1, get, #{timeout => 1000})),
    ?assertEqual({ok, {unhandled, what}}, native_pool:call(?POOL, 1, what)),
    ?assertEqual({ok, 0}, native_pool:call(?POOL, 2, get)),
    ?assertEqual({error, not_registered}, native_pool:call(?POOL, 99, get)),
    ?assertEqual({error, no_pool}, native_pool:call('Elixir.NoPool', 1, get)),
    ?assertEqual({error, timeout}, native_pool:call('Elixir.KvPool', 1, {await, <<"k">>, 2000}, 100)).

who_is_there({Name, _}) ->
    ?assertEqual([Name], native_pool:nodes()),
    ?assertEqual(pong, native_pool:ping(Name)),
    {ok, Pid} = native_pool:whereis(?POOL, 1),
    ?assertEqual(Name, node(Pid)).

killed_in_a_call({Name, Sup}) ->
    {ok, 1} = native_pool:call(?POOL, 1, increment),
    #{os_pid := OsPid} = info(Sup),
    {ok, _} = timer:apply_after(200, os, cmd, ["kill -9 " ++ integer_to_list(OsPid)]),
    ?assertEqual({error, {nodedown, Name}}, native_pool:call('Elixir.KvPool', 1, {await, <<"k">>, 10000})),
    %% its supervisor starts it again, and calls find the new workers
    ?assertEqual(1, eventually(fun() ->
        case native_pool:call(?POOL, 1, increment, 1000) of
            {ok, N} -> {ok, N};
            {error, _} -> again
        end
    end)),
    #{os_pid := New} = info(Sup),
    ?assert(New =/= OsPid).

worker_gone({_, _}) ->
    {ok, Pid} = native_pool:whereis(?POOL, 3),
    Ref = monitor(process, Pid),
    ok = gen_server:stop(Pid),
    receive {'DOWN', Ref, process, Pid, normal} -> ok after 2000 -> error(no_down) end,
    Result = native_pool:call(?POOL, 3, get, 1000),
    %% started anew, or gone for good; never the old pid
    ?assert(lists:member(Result, [{ok, 0}, {error, not_registered}])).

cookie_is_hidden({_, Sup}) ->
    #{os_pid := OsPid} = info(Sup),
    Cookie = atom_to_binary(erlang:get_cookie()),
    Proc = "/proc/" ++ integer_to_list(OsPid),
    [
        begin
            {ok, Text} = file:read_file(Proc ++ File),
            ?assertEqual(nomatch, binary:match(Text, Cookie))
        end
     || File <- ["/cmdline", "/environ"]
    ].

name_taken({Name, _}) ->
    {error, {exit_status, 1, Lines}} = native_pool_node:start_link(options(Name)),
    ?assertMatch({_, _}, binary:match(lists:last(Lines), <<"refuses the name">>)),
    ?assertEqual({ok, 1}, native_pool:call(?POOL, 1, increment)).

%% Another BEAM starts a node and is killed; the node must go as well.
ends_with_its_beam(_) ->
    Name = unique(),
    Args = [
        "-noinput", "-hidden", "-name", atom_to_list(unique()), "-pa", filename:dirname(code:which(?MODULE)),
        "-kernel", "logger_level", "none", "-run", atom_to_list(?MODULE), "hold", atom_to_list(Name)
    ],
    Port = open_port({spawn_executable, os:find_executable("erl")}, [{args, Args}, {line, 1000}, binary]),
    Line = receive {Port, {data, {eol, L}}} -> L after 30000 -> error(no_beam) end,
    [Beam, OsPid] = binary:split(Line, <<" ">>),
    ?assert(is_running(binary_to_integer(OsPid))),
    _ = os:cmd("kill -9 " ++ binary_to_list(Beam)),
    eventually(fun() ->
        case is_running(binary_to_integer(OsPid)) of
            false -> {ok, gone};
            true -> again
        end
    end).

%% In that other BEAM.
hold([Name]) ->
    {ok, Pid} = native_pool_node:start_link(options(list_to_atom(Name))),
    #{os_pid := OsPid} = native_pool_node:info(Pid),
    io:format("~s ~b~n", [os:getpid(), OsPid]),
    receive never -> ok end.

%%% helpers

unique() ->
    list_to_atom("live" ++ os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive])) ++ "@127.0.0.1").

info(Sup) ->
    eventually(fun() ->
        case supervisor:which_children(Sup) of
            [{_, Pid, worker, _}] when is_pid(Pid) -> {ok, native_pool_node:info(Pid)};
            _ -> again
        end
    end).

%% It says that it is ready when it serves, which may be before it has connected to us.
connected(Name) ->
    eventually(fun() ->
        case lists:member(Name, nodes(connected)) of
            true -> {ok, Name};
            false -> again
        end
    end).

is_running(OsPid) ->
    case file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/stat") of
        {ok, Stat} -> re:run(Stat, "\\) Z ", [{capture, none}]) =:= nomatch;
        {error, _} -> false
    end.

eventually(Fun) -> eventually(Fun, 200).

eventually(Fun, 0) ->
    error({waited_in_vain, Fun()});
eventually(Fun, N) ->
    case Fun() of
        {ok, Result} ->
            Result;
        again ->
            timer:sleep(50),
            eventually(Fun, N - 1)
    end.
