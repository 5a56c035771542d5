%% The runner. A suite is a module with cases/0 -> [Name | {Name, Options}]; a case is an exported Name/0 that
%% returns on success and raises on failure. Options:
%%   timeout => Ms     (default 15000)
%%   slow => true      mostly waits: all slow cases run at the same time as the others
%%   alone => true     measures, or loads the machine: runs after all others, nothing beside it
%%   native => true    not for --beam (asks for what only the native node has)
%%   with => {L, Arg}  the case is Name/1, called with Arg; L (text) stands in its title
%% A case may return {note, Text}, printed behind its line, or {skip, Reason}.
-module(np_test).
-export([main/0, eventually/1, eventually/2, flush/0, collect/1, quietly/1, ms/1]).

-define(SLOW_AT_A_TIME, 10).

main() ->
    try run() of
        Failed -> halt(min(Failed, 1))
    catch
        Class:Reason:Stack ->
            io:format("interop: the runner failed: ~p:~p~n~p~n", [Class, Reason, Stack]),
            halt(2)
    end.

run() ->
    {ok, Only} = re:compile(os:getenv("NP_ONLY", ".")),
    Cases = [C || C <- all_cases(), re:run(title(C), Only) =/= nomatch],
    case os:getenv("NP_LIST") of
        "1" -> [io:format("~s~n", [title(C)]) || C <- Cases], 0;
        _ -> run(Cases)
    end.

run(Cases0) ->
    np_node:start(),
    Start = erlang:monotonic_time(millisecond),
    Cases = [C || {_, _, O} = C <- Cases0, np_node:mode() =:= native orelse not maps:get(native, O, false)],
    Main = lists:any(fun({_, _, O}) -> not maps:get(own_node, O, false) end, Cases),
    Main andalso np_node:start_main(),
    {Slow, Rest} = lists:partition(fun({_, _, O}) -> maps:get(slow, O, false) end, Cases),
    {Alone, Normal} = lists:partition(fun({_, _, O}) -> maps:get(alone, O, false) end, Rest),
    Self = self(),
    {Background, Ref} = spawn_monitor(fun() -> exit({results, many(Slow, ?SLOW_AT_A_TIME)}) end),
    R1 = [one(C) || C <- Normal],
    R2 = receive {'DOWN', Ref, process, Background, {results, Rs}} -> Rs end,
    R3 = [one(C) || C <- Alone],
    R4 = [outcome({np_test, F, #{}}, 0, Result) || {F, Result} <- closing_checks(Main)],
    true = Self =:= self(),
    Results = R1 ++ R2 ++ R3 ++ R4,
    Failed = length([x || failed <- Results]),
    np_node:stop(),
    io:format("~b s~n", [(erlang:monotonic_time(millisecond) - Start) div 1000]),
    io:format("~b passed, ~b failed~n", [length([x || ok <- Results]), Failed]),
    Failed.

all_cases() ->
    Dir = filename:dirname(code:which(?MODULE)),
    Modules = [list_to_atom(filename:basename(F, ".beam")) || F <- lists:sort(filelib:wildcard(Dir ++ "/it_*.beam"))],
    [case C of {F, O} -> {M, F, O}; F -> {M, F, #{}} end || M <- Modules, C <- M:cases()].

many(Cases, N) ->
    {First, Later} = lists:split(min(N, length(Cases)), Cases),
    many(maps:from_list([start_one(C) || C <- First]), Later, []).

many(Running, [], Results) when map_size(Running) =:= 0 -> Results;
many(Running, Later, Results) ->
    receive
        {'DOWN', Ref, process, _, {result, R}} when is_map_key(Ref, Running) ->
            More = case Later of [] -> []; [C | _] -> [start_one(C)] end,
            many(maps:merge(maps:remove(Ref, Running), maps:from_list(More)), tl_or_empty(Later), [R | Results])
    end.

tl_or_empty([]) -> [];
tl_or_empty([_ | T]) -> T.

start_one(C) ->
    {_, Ref} = spawn_monitor(fun() -> exit({result, one(C)}) end),
    {Ref, C}.

%% Runs one case in a process of its own; what the case started (np_node) is gone before its line is printed.
one({_, _, Options} = Case) ->
    Timeout = maps:get(timeout, Options, 15000),
    Begin = erlang:monotonic_time(millisecond),
    {Pid, Ref} = spawn_monitor(fun() -> exit({case_result, attempt(Case)}) end),
    Result =
        receive
            {'DOWN', Ref, process, Pid, {case_result, R}} -> R;
            {'DOWN', Ref, process, Pid, Died} -> {failed, exit, Died, []}
        after Timeout ->
            Where = process_info(Pid, current_stacktrace),
            exit(Pid, kill),
            receive {'DOWN', Ref, process, Pid, _} -> ok end,
            {failed, timeout, Timeout, case Where of {_, S} -> S; undefined -> [] end}
        end,
    Took = erlang:monotonic_time(millisecond) - Begin,
    outcome(Case, Took, Result) =:= failed andalso np_node:print_logs_of(Pid),
    np_node:owner_gone(Pid),
    case Result of ok -> ok; {ok, _} -> ok; {skip, _} -> skipped; _ -> failed end.

attempt({M, F, Options}) ->
    try case Options of #{with := {_, Arg}} -> M:F(Arg); _ -> M:F() end of
        {note, Text} -> {ok, Text};
        {skip, Why} -> {skip, Why};
        _ -> ok
    catch
        Class:Reason:Stack -> {failed, Class, Reason, Stack}
    end.

outcome({M, _, _} = Case, Ms, Result) ->
    Head = io_lib:format("~-58s ~6b ms ", [title(Case), Ms]),
    case Result of
        ok -> io:format("~s ok~n", [Head]), ok;
        {ok, Text} -> io:format("~s ok  (~ts)~n", [Head, Text]), ok;
        {skip, Why} -> io:format("~s SKIPPED: ~ts~n", [Head, Why]), skipped;
        {failed, Class, Reason, Stack} ->
            io:format("~s FAILED at ~s~n~ts~n", [Head, place(M, Stack), indent(why(Class, Reason))]),
            failed
    end.

title({M, F, #{with := {Label, _}}}) -> lists:flatten(io_lib:format("~s:~s@~s", [M, F, Label]));
title({M, F, _}) -> lists:flatten(io_lib:format("~s:~s", [M, F])).

%% The innermost line of the suite itself, else of anything.
place(M, Stack) ->
    Lines = [{Mod, proplists:get_value(line, Loc)} || {Mod, _, _, Loc} <- Stack,
             proplists:get_value(line, Loc) =/= undefined],
    case {lists:keyfind(M, 1, Lines), Lines} of
        {{Mod, Line}, _} -> io_lib:format("~s.erl:~b", [Mod, Line]);
        {false, [{Mod, Line} | _]} -> io_lib:format("~s.erl:~b", [Mod, Line]);
        {false, []} -> "?"
    end.

why(timeout, Ms) -> io_lib:format("no end after ~b ms", [Ms]);
why(error, {Assert, [{_, _} | _] = Info}) when is_atom(Assert) ->
    Keep = [I || {K, _} = I <- Info, lists:member(K, [comment, expression, expected, value, pattern])],
    io_lib:format("~s ~0tP", [Assert, Keep, 60]);
why(Class, Reason) -> io_lib:format("~s: ~0tP", [Class, Reason, 60]).

indent(Text) -> ["    ", Text].

%% ---- after all cases ----

closing_checks(Main) ->
    [{beam_logs_are_clean, beam_logs()}] ++ [{program_ended_clean, np_node:stop_main()} || Main]
        ++ [{sanitizers_found_nothing, sanitizers()}].

sanitizers() ->
    case np_node:sanitizer_findings() of
        [] -> ok;
        Lines -> {failed, error, [lists:flatten(L) || L <- lists:sublist([unicode:characters_to_list(L)
            || L <- Lines], 5)], []}
    end.

beam_logs() ->
    Bad = ["Invalid distribution message", "corrupted", "Missing 'spawn_reply'", "not responding"],
    Allowed = np_node:allowed_log_lines(),
    Hits = [io_lib:format("~s: ~ts", [filename:basename(File), Line])
            || File <- np_node:beam_logs(), Line <- np_node:lines(File),
               lists:any(fun(B) -> string:find(Line, B) =/= nomatch end, Bad),
               not lists:any(fun({F, Text}) -> F =:= File andalso string:find(Line, Text) =/= nomatch end, Allowed)],
    case Hits of
        [] -> ok;
        _ -> {failed, error, {beam_logs, lists:map(fun lists:flatten/1, Hits)}, []}
    end.

%% ---- for the suites ----

%% Until Fun returns true; raises what it last saw.
eventually(Fun) -> eventually(Fun, 2000).

eventually(Fun, Ms) -> eventually_until(Fun, erlang:monotonic_time(millisecond) + Ms).

eventually_until(Fun, Deadline) ->
    Seen = try Fun() catch C:R -> {C, R} end,
    case {Seen, erlang:monotonic_time(millisecond) > Deadline} of
        {true, _} -> ok;
        {_, true} -> error({never, Seen});
        {_, false} -> timer:sleep(20), eventually_until(Fun, Deadline)
    end.

%% Everything in the mailbox now.
flush() -> receive M -> [M | flush()] after 0 -> [] end.

%% Everything that arrives within Ms.
collect(Ms) -> timer:sleep(Ms), flush().

%% What a fun returns or raises, as a term.
quietly(Fun) -> try Fun() catch C:R -> {C, R} end.

%% {Milliseconds, Result} of a fun; a raise is the result.
ms(Fun) ->
    T = erlang:monotonic_time(microsecond),
    R = quietly(Fun),
    {(erlang:monotonic_time(microsecond) - T) / 1000, R}.
