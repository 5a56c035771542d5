%% native_pool_node against test/shim/fake_program, which stands in for the program; see there what each name does.
-module(native_pool_node_tests).
-include_lib("eunit/include/eunit.hrl").
-export([log/2]).

all_test_() ->
    [
        {Title, {timeout, 30, fun() -> in_setup(Test) end}}
     || {Title, Test} <- [
            {"start, info, stop", fun starts_and_stops/0},
            {"log lines", fun forwards_log_lines/0},
            {"failed start", fun reports_a_failed_start/0},
            {"start time-out", fun gives_up_on_a_slow_start/0},
            {"kill after stop time-out", fun kills_what_does_not_stop/0},
            {"restart", fun supervisor_restarts_it/0},
            {"ends with its BEAM", fun ends_with_its_beam/0},
            {"invalid options", fun refuses_bad_options/0},
            {"child_spec", fun child_spec/0}
        ]
    ].

%% In the process of the test: it gets the log events and the exits.
in_setup(Test) ->
    setup(),
    try
        Test()
    after
        cleanup()
    end.

setup() ->
    flush(),
    Self = self(),
    ok = logger:set_primary_config(level, all),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => Self}}),
    ok = logger:set_handler_config(default, level, none),
    process_flag(trap_exit, true).

cleanup() ->
    ok = logger:remove_handler(?MODULE),
    ok = logger:set_handler_config(default, level, all),
    ok = logger:set_primary_config(level, notice).

%% The handler: each event to the test.
log(#{level := Level, msg := Msg, meta := #{domain := [native_pool]} = Meta}, #{config := #{to := To}}) ->
    {Format, Args} = Msg,
    To ! {log, Level, lists:flatten(io_lib:format(Format, Args)), maps:get(native_node, Meta, none)};
log(_, _) ->
    ok.

options(Name) -> #{name => Name, program => fake(), cookie => "tasty", stop_timeout => 2000}.

fake() -> filename:join([filename:dirname(code:which(?MODULE)), "fake_program"]).

starts_and_stops() ->
    {ok, Pid} = native_pool_node:start_link(options('a@x')),
    #{name := 'a@x', os_pid := OsPid} = native_pool_node:info(Pid),
    ?assert(is_running(OsPid)),
    ok = gen_server:stop(Pid),
    ?assertNot(is_running(OsPid)).

forwards_log_lines() ->
    {ok, Pid} = native_pool_node:start_link((options('b@x'))#{connect => ['c@y'], config => "f.yaml"}),
    Text = "fake args seen=\"--supervised --name b@x --config f.yaml --connect c@y\" cookie=tasty",
    ?assertEqual({warning, Text}, logged()),
    ok = gen_server:stop(Pid),
    ?assertEqual({notice, "fake drained"}, logged()).

reports_a_failed_start() ->
    Error = native_pool_node:start_link(options('bad@x')),
    ?assertMatch({error, {exit_status, 2, [_, <<"demo.yaml:7: pools[0].isolation: 'foo' is not allowed">>]}}, Error).

gives_up_on_a_slow_start() ->
    {error, {not_ready, [_]}} = native_pool_node:start_link((options('slow@x'))#{start_timeout => 200}).

kills_what_does_not_stop() ->
    {ok, Pid} = native_pool_node:start_link((options('deaf@x'))#{stop_timeout => 200}),
    #{os_pid := OsPid} = native_pool_node:info(Pid),
    ok = gen_server:stop(Pid),
    ?assertNot(is_running(OsPid)).

supervisor_restarts_it() ->
    {ok, Sup} = supervisor:start_link(native_pool_test_sup, [native_pool_node:child_spec(options('d@x'))]),
    [{_, Pid, worker, _}] = supervisor:which_children(Sup),
    #{os_pid := OsPid} = native_pool_node:info(Pid),
    Ref = monitor(process, Pid),
    os:cmd("kill -9 " ++ integer_to_list(OsPid)),
    receive
        {'DOWN', Ref, process, Pid, Reason} -> ?assertEqual({exit_status, 128 + 9}, Reason)
    after 2000 -> error(still_there)
    end,
    Again = wait(fun() ->
        case supervisor:which_children(Sup) of
            [{_, New, worker, _}] when is_pid(New), New =/= Pid -> {ok, New};
            _ -> again
        end
    end),
    #{name := 'd@x', os_pid := OsPid2} = native_pool_node:info(Again),
    ?assert(OsPid2 =/= OsPid),
    unlink(Sup),
    ok = gen_server:stop(Sup),
    ?assertNot(is_running(OsPid2)).

%% Another BEAM starts it and is killed; it must go as well.
ends_with_its_beam() ->
    Ebin = filename:dirname(code:which(native_pool_node)),
    Eval = io_lib:format(
        "{ok, P} = native_pool_node:start_link(#{name => 'e@x', program => ~p, cookie => c}),"
        " #{os_pid := N} = native_pool_node:info(P), io:format(\"~~s ~~b~~n\", [os:getpid(), N]), receive x -> x end.",
        [fake()]
    ),
    Erl = os:find_executable("erl"),
    Args = ["-noinput", "-kernel", "logger_level", "none", "-pa", Ebin, "-eval", lists:flatten(Eval)],
    Port = open_port({spawn_executable, Erl}, [{args, Args}, {line, 1000}, binary]),
    Line = receive {Port, {data, {eol, L}}} -> L after 20000 -> error(no_beam) end,
    [Beam, OsPid] = binary:split(Line, <<" ">>),
    ?assert(is_running(binary_to_integer(OsPid))),
    os:cmd("kill -9 " ++ binary_to_list(Beam)),
    wait(fun() ->
        case is_running(binary_to_integer(OsPid)) of
            false -> {ok, gone};
            true -> again
        end
    end).

refuses_bad_options() ->
    ?assertEqual({error, {invalid_option, {colour, red}}}, native_pool_node:start_link((options('a@x'))#{colour => red})),
    ?assertEqual({error, {invalid_option, {config, 7}}}, native_pool_node:start_link([{config, 7}])),
    ?assertEqual({error, {missing_option, name}}, native_pool_node:start_link([])),
    ?assertEqual({error, {program_not_found, "/no/such"}}, native_pool_node:start_link((options('a@x'))#{program => "/no/such"})),
    %% this node's cookie is handed over only if it has one
    is_alive() orelse
        ?assertEqual({error, no_cookie}, native_pool_node:start_link(maps:remove(cookie, options('a@x')))).

child_spec() ->
    ?assertMatch(
        #{id := {native_pool_node, 'a@x'}, restart := permanent, shutdown := 7000, type := worker},
        native_pool_node:child_spec(options('a@x'))
    ).

%%% helpers

flush() ->
    receive
        _ -> flush()
    after 0 -> ok
    end.

logged() ->
    receive
        {log, Level, Text, _Node} -> {Level, Text}
    after 2000 -> nothing
    end.

is_running(OsPid) ->
    case file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/stat") of
        %% a zombie has ended
        {ok, Stat} -> re:run(Stat, "\\) Z ", [{capture, none}]) =:= nomatch;
        {error, _} -> false
    end.

wait(Fun) -> wait(Fun, 50).

wait(Fun, 0) ->
    error({waited_in_vain, Fun()});
wait(Fun, N) ->
    case Fun() of
        {ok, Result} ->
            Result;
        again ->
            timer:sleep(100),
            wait(Fun, N - 1)
    end.
