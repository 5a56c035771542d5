%% @doc A native node under a BEAM supervisor.
%%
%% The program `native-pool' runs as a port of this process (`--supervised': it logs to its stdout and drains when its stdin
%% ends, so it goes when this BEAM goes, even by `kill -9'). Its log lines become events of `logger', its end is the end of this
%% process, for the supervisor to restart.
%%
%% In a supervisor's children, `` {native_pool_node, Options} '' in Elixir, `` native_pool_node:child_spec(Options) '' in Erlang:
%% ```
%% native_pool_node:child_spec(#{name => 'native@127.0.0.1', config => "/etc/native_pool.yaml"})
%% '''
%% Metadata of its log events: `domain => [native_pool]', `native_node => Name'.
-module(native_pool_node).
-behaviour(gen_server).

-export([child_spec/1, start_link/1, info/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([options/0, option/0, info/0]).

-type option() ::
    %% of the native node; needed if the config has none, wins over the config's
    {name, node() | string() | binary()}
    %% the YAML file
    | {config, file:name_all()}
    %% nodes it connects to; default: this node. The config's node.connect comes on top
    | {connect, [node()]}
    %% default: this node's, handed over in the environment, never on the command line. undefined: as the config says
    | {cookie, atom() | string() | binary() | undefined}
    %% default: priv/native-pool of this application
    | {program, file:name_all()}
    %% more variables for the program's environment; false unsets
    | {env, [{string(), string() | false}]}
    %% for the program to be ready, in ms; default 30000
    | {start_timeout, pos_integer()}
    %% for it to drain before it is killed, in ms; default 10000
    | {stop_timeout, pos_integer()}
    %% of the child_spec; default {native_pool_node, Name}
    | {id, term()}
    %% of the child_spec; default permanent
    | {restart, permanent | transient | temporary}.
-type options() :: #{atom() => term()} | [option()].
%% The map has the same keys.
-type info() :: #{name := node(), os_pid := non_neg_integer()}.

-record(state, {
    port :: port(),
    os_pid :: non_neg_integer(),
    name :: node() | undefined,
    stop_timeout :: pos_integer(),
    %% the start of a line longer than LINE_BYTES
    partial = <<>> :: binary()
}).

-define(LINE_BYTES, 8192).
-define(START_MS, 30000).
-define(STOP_MS, 10000).
%% lines of output that explain a failed start
-define(KEPT_LINES, 20).

%% @doc A child specification; its shutdown time is longer than `stop_timeout', so that the node can drain.
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) ->
    Map = to_map(Options),
    #{
        id => maps:get(id, Map, {?MODULE, maps:get(name, Map, undefined)}),
        start => {?MODULE, start_link, [Map]},
        restart => maps:get(restart, Map, permanent),
        shutdown => maps:get(stop_timeout, Map, ?STOP_MS) + 5000,
        type => worker,
        modules => [?MODULE]
    }.

%% @doc Starts the program and returns when it is ready.
%%
%% Errors: `` {program_not_found, File} '', `` {invalid_option, Option} '', `no_cookie' (this node is not distributed and no cookie
%% is given), `` {not_ready, Output} '' (after `start_timeout'), `` {exit_status, Status, Output} '' with the last lines of the
%% program's output, which say why it did not start.
-spec start_link(options()) -> {ok, pid()} | ignore | {error, term()}.
start_link(Options) ->
    gen_server:start_link(?MODULE, to_map(Options), []).

%% @doc The name of the native node, and the id of its OS process.
-spec info(pid()) -> info().
info(Pid) ->
    gen_server:call(Pid, info).

%%% gen_server

-spec init(#{atom() => term()}) -> {ok, #state{}} | {stop, term()}.
init(Options) ->
    process_flag(trap_exit, true),
    try
        check(Options),
        Port = open(Options),
        {os_pid, OsPid} = erlang:port_info(Port, os_pid),
        State = #state{port = Port, os_pid = OsPid, stop_timeout = maps:get(stop_timeout, Options, ?STOP_MS)},
        wait_ready(State, deadline(maps:get(start_timeout, Options, ?START_MS)), [])
    catch
        throw:Reason -> {stop, Reason}
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(info, _From, State) ->
    {reply, #{name => State#state.name, os_pid => State#state.os_pid}, State};
handle_call(Request, _From, State) ->
    {reply, {error, {unknown_call, Request}}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({Port, {data, Data}}, #state{port = Port} = State) ->
    case line(Data, State) of
        {more, More} ->
            {noreply, More};
        {Line, Next} ->
            log_line(Line, Next),
            {noreply, Next}
    end;
handle_info({Port, {exit_status, 0}}, #state{port = Port} = State) ->
    {stop, normal, State#state{os_pid = 0}};
handle_info({Port, {exit_status, Status}}, #state{port = Port} = State) ->
    {stop, {exit_status, Status}, State#state{os_pid = 0}};
handle_info({'EXIT', Port, Reason}, #state{port = Port} = State) ->
    {stop, {port, Reason}, State#state{os_pid = 0}};
handle_info(_Message, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{os_pid = 0}) ->
    %% it is gone already
    ok;
terminate(_Reason, State) ->
    stop(State).

%%% options

to_map(Options) when is_map(Options) -> Options;
to_map(Options) when is_list(Options) -> maps:from_list(Options).

check(Options) ->
    maps:foreach(
        fun(Key, Value) -> valid(Key, Value) orelse throw({invalid_option, {Key, Value}}) end,
        Options
    ),
    maps:is_key(name, Options) orelse maps:is_key(config, Options) orelse throw({missing_option, name}),
    ok.

valid(name, Value) -> is_text(Value);
valid(config, Value) -> is_text(Value);
valid(connect, Value) -> is_list(Value) andalso lists:all(fun is_atom/1, Value);
valid(cookie, Value) -> is_text(Value);
valid(program, Value) -> is_text(Value);
valid(env, Value) -> is_list(Value);
valid(start_timeout, Value) -> is_integer(Value) andalso Value > 0;
valid(stop_timeout, Value) -> is_integer(Value) andalso Value > 0;
valid(id, _) -> true;
valid(restart, Value) -> lists:member(Value, [permanent, transient, temporary]);
valid(_, _) -> false.

is_text(Value) -> is_atom(Value) orelse is_binary(Value) orelse io_lib:printable_unicode_list(Value).

text(Value) when is_atom(Value) -> atom_to_list(Value);
text(Value) -> unicode:characters_to_list(Value).

%%% the program

open(Options) ->
    Program = program(Options),
    filelib:is_regular(Program) orelse throw({program_not_found, Program}),
    try
        open_port({spawn_executable, Program}, [
            {args, arguments(Options)},
            {env, maps:get(env, Options, []) ++ cookie(Options)},
            {line, ?LINE_BYTES},
            binary,
            exit_status,
            stderr_to_stdout,
            hide
        ])
    catch
        error:Reason -> throw({cannot_run, Program, Reason})
    end.

program(#{program := Program}) ->
    text(Program);
program(_) ->
    case code:priv_dir(native_pool) of
        {error, bad_name} -> throw({program_not_found, "priv/native-pool"});
        Dir -> filename:join(Dir, "native-pool")
    end.

arguments(Options) ->
    Flags = [{name, "--name"}, {config, "--config"}],
    Given = lists:append([[Flag, text(maps:get(Key, Options))] || {Key, Flag} <- Flags, maps:is_key(Key, Options)]),
    Connect = [["--connect", atom_to_list(Node)] || Node <- maps:get(connect, Options, this_node())],
    ["--supervised" | Given] ++ lists:append(Connect).

this_node() ->
    case is_alive() of
        true -> [node()];
        false -> []
    end.

cookie(#{cookie := undefined}) ->
    [];
cookie(#{cookie := Cookie}) ->
    [{"NATIVE_POOL_COOKIE", text(Cookie)}];
cookie(_) ->
    case erlang:get_cookie() of
        nocookie -> throw(no_cookie);
        Cookie -> [{"NATIVE_POOL_COOKIE", atom_to_list(Cookie)}]
    end.

%% Takes the program's output until it says that it is ready. Lines are the last ones, newest first.
wait_ready(#state{port = Port} = State, Deadline, Lines) ->
    receive
        {Port, {data, Data}} ->
            case line(Data, State) of
                {more, More} ->
                    wait_ready(More, Deadline, Lines);
                {<<"native_pool: ready ", Name/binary>>, Next} ->
                    {ok, Next#state{name = binary_to_atom(Name)}};
                {Line, Next} ->
                    log_line(Line, Next),
                    wait_ready(Next, Deadline, lists:sublist([Line | Lines], ?KEPT_LINES))
            end;
        {Port, {exit_status, Status}} ->
            throw({exit_status, Status, lists:reverse(Lines)});
        {'EXIT', Port, Reason} ->
            throw({port, Reason});
        {'EXIT', _Parent, Reason} ->
            stop(State),
            throw(Reason)
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        stop(State),
        throw({not_ready, lists:reverse(Lines)})
    end.

%% Asks it to drain; kills it if it does not.
stop(#state{port = Port, os_pid = OsPid, stop_timeout = Timeout} = State) ->
    try
        true = port_command(Port, <<"stop\n">>)
    catch
        error:badarg -> ok
    end,
    case wait_exit(State, deadline(Timeout)) of
        ok ->
            ok;
        timeout ->
            logger:log(warning, "native node did not stop within ~b ms, killing it", [Timeout], metadata(State)),
            _ = os:cmd("kill -9 " ++ integer_to_list(OsPid)),
            _ = wait_exit(State, deadline(1000)),
            ok
    end.

wait_exit(#state{port = Port} = State, Deadline) ->
    receive
        {Port, {data, Data}} ->
            case line(Data, State) of
                {more, More} ->
                    wait_exit(More, Deadline);
                {Line, Next} ->
                    log_line(Line, Next),
                    wait_exit(Next, Deadline)
            end;
        {Port, {exit_status, _}} ->
            ok;
        {'EXIT', Port, _} ->
            ok
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        timeout
    end.

deadline(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

%%% its output

%% A line of output; longer ones come in pieces and are cut at a few of them, so that no output can fill the memory.
line({noeol, Piece}, #state{partial = Partial} = State) when byte_size(Partial) < 8 * ?LINE_BYTES ->
    {more, State#state{partial = <<Partial/binary, Piece/binary>>}};
line({noeol, _Piece}, State) ->
    {more, State};
line({eol, Piece}, #state{partial = Partial} = State) ->
    {<<Partial/binary, Piece/binary>>, State#state{partial = <<>>}}.

%% `time level where message key=value', as the program's log has it; anything else (an assertion that failed, the report of a
%% sanitizer, the dynamic linker) is an error.
log_line(Line, State) ->
    case binary:split(Line, <<" ">>) of
        [_Time, Rest] ->
            case binary:split(Rest, <<" ">>) of
                [Level, Text] -> log_text(level(Level), Text, Line, State);
                _ -> log_text(unknown, Line, Line, State)
            end;
        _ ->
            log_text(unknown, Line, Line, State)
    end.

log_text(unknown, _Text, Line, State) ->
    logger:log(error, "~ts", [Line], metadata(State));
log_text(Level, Text, _Line, State) ->
    logger:log(Level, "~ts", [Text], metadata(State)).

metadata(#state{name = Name}) -> #{domain => [native_pool], native_node => Name}.

level(<<"emergency">>) -> emergency;
level(<<"alert">>) -> alert;
level(<<"critical">>) -> critical;
level(<<"error">>) -> error;
level(<<"warning">>) -> warning;
level(<<"notice">>) -> notice;
level(<<"info">>) -> info;
level(<<"debug">>) -> debug;
level(_) -> unknown.
