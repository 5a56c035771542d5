%% Supervisors: the requests of Supervisor and DynamicSupervisor, as their own modules send them.
-module(it_sup).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() ->
    [which_children_of_the_pool, count_children_of_the_pool, which_and_count_of_the_worker_supervisor, start_child,
     start_child_with_init_arguments, duplicate_is_already_started, terminate_child, temporary_is_not_restarted,
     an_id_can_be_started_again, get_childspec, {task_supervisor_is_refused, #{native => true}},
     unknown_request_answers,
     {bad_child_specs_are_errors, #{native => true}}, thousand_children].

main() -> np_node:main().
sup() -> {?COUNTER_SUP, main()}.
ref(Id) -> {ref, 'Elixir.MyPool.Worker', Id}.

start_child(Ref, More, Restart) ->
    M = 'Elixir.MyPool.Worker',
    gen_server:call(sup(), {start_child, {{M, start_link, [Ref | More]}, Restart, 5000, worker, [M]}}).

which_children_of_the_pool() ->
    Children = supervisor:which_children({?COUNTER, main()}),
    [?assertMatch({_, Pid, Type, Mods} when (is_pid(Pid) orelse Pid =:= restarting orelse Pid =:= undefined)
                  andalso (Type =:= worker orelse Type =:= supervisor)
                      andalso (is_list(Mods) orelse Mods =:= dynamic), C) || C <- Children],
    Pids = [P || {_, P, _, _} <- Children],
    [?assert(lists:member(np_node:whereis(Name), Pids)) || Name <- [?COUNTER_SERVER, ?COUNTER_SUP]].

count_children_of_the_pool() ->
    Children = supervisor:which_children({?COUNTER, main()}),
    Counts = supervisor:count_children({?COUNTER, main()}),
    ?assertEqual([specs, active, supervisors, workers], [K || {K, _} <- Counts]),
    ?assertEqual(length(Children), proplists:get_value(specs, Counts)),
    ?assertEqual(length([x || {_, P, _, _} <- Children, is_pid(P)]), proplists:get_value(active, Counts)),
    ?assertEqual(length([x || {_, _, supervisor, _} <- Children]), proplists:get_value(supervisors, Counts)),
    ?assertEqual(length([x || {_, _, worker, _} <- Children]), proplists:get_value(workers, Counts)).

which_and_count_of_the_worker_supervisor() ->
    {ok, P} = start_child(ref(np_node:unique("wc")), [], temporary),
    Children = supervisor:which_children(sup()),
    Counts = supervisor:count_children(sup()),
    ?assertMatch([{specs, _}, {active, _}, {supervisors, _}, {workers, _}], Counts),
    ?assertEqual(proplists:get_value(specs, Counts), length(Children)),
    ?assertMatch({_, P, worker, _}, lists:keyfind(P, 2, workers_below(sup()))).

%% The workers of a supervisor and of the supervisors below it (a worker supervisor's children are its segments).
workers_below(Sup) ->
    lists:flatmap(fun({_, Pid, supervisor, _}) -> workers_below(Pid); (Worker) -> [Worker] end,
                  supervisor:which_children(Sup)).

start_child() ->
    Id = np_node:unique("sc"),
    {ok, P} = start_child(ref(Id), [], temporary),
    ?assertEqual(1, gen_server:call(P, increment)),
    ?assertEqual({ok, P}, gen_server:call({?COUNTER_SERVER, main()}, {whereis, Id})),
    gen_server:stop(P),
    ?assertEqual({error, not_registered}, gen_server:call({?COUNTER_SERVER, main()}, {whereis, Id})).

start_child_with_init_arguments() ->
    [begin
         {ok, P} = start_child(ref(np_node:unique("ia")), More, temporary),
         ?assertEqual(0, gen_server:call(P, get))
     end || More <- [[], [[]], [[], context]]].

duplicate_is_already_started() ->
    Id = np_node:unique("dup"),
    {ok, P} = start_child(ref(Id), [], temporary),
    ?assertEqual({error, {already_started, P}}, start_child(ref(Id), [], temporary)),
    Again = gen_server:call({?COUNTER_SERVER, main()}, {start_worker, Id, []}),
    ?assert(Again =:= {ok, P} orelse Again =:= {error, {already_started, P}}),
    ?assertEqual(0, gen_server:call(P, get)).

terminate_child() ->
    {ok, P} = start_child(ref(np_node:unique("tc")), [], permanent),
    Ref = monitor(process, P),
    ?assertEqual(ok, gen_server:call(sup(), {terminate_child, P})),
    ?assertEqual(shutdown, receive {'DOWN', Ref, _, _, R} -> R after 1000 -> none end),
    ?assertEqual({error, not_found}, gen_server:call(sup(), {terminate_child, P})),
    ?assertEqual(false, lists:keyfind(P, 2, workers_below(sup()))),
    ?assertEqual({error, not_found}, gen_server:call(sup(), {terminate_child, self()})).

temporary_is_not_restarted() ->
    Id = np_node:unique("temp"),
    {ok, P} = start_child(ref(Id), [], temporary),
    exit(P, kill),
    np_test:eventually(fun() -> {error, not_registered} =:= gen_server:call({?COUNTER_SERVER, main()},
        {whereis, Id}) end),
    ?assertEqual({error, not_registered}, begin timer:sleep(100), gen_server:call({?COUNTER_SERVER, main()},
        {whereis, Id}) end).

an_id_can_be_started_again() ->
    Id = np_node:unique("again"),
    {ok, P} = start_child(ref(Id), [], temporary),
    gen_server:call(P, {add, 5}),
    exit(P, kill),
    np_test:eventually(fun() -> {error, not_registered} =:= gen_server:call({?COUNTER_SERVER, main()},
        {whereis, Id}) end),
    {ok, New} = start_child(ref(Id), [], temporary),
    ?assertNotEqual(P, New),
    ?assertEqual({ok, New}, gen_server:call({?COUNTER_SERVER, main()}, {whereis, Id})),
    ?assertEqual(0, gen_server:call(New, get)).

get_childspec() ->
    [{Id, Pid, Type, _} | _] = supervisor:which_children({?COUNTER, main()}),
    {ok, Spec} = supervisor:get_childspec({?COUNTER, main()}, Id),
    ?assertMatch(#{id := Id, start := {_, _, _}, type := Type}, Spec),
    ?assert(is_pid(Pid)),
    ?assertEqual({error, not_found}, supervisor:get_childspec({?COUNTER, main()}, no_such_child)).

task_supervisor_is_refused() ->
    ?assertEqual({error, notsup}, gen_server:call(sup(), {start_task, [{node(), self(), self()}, monitor], temporary,
                                                          nil})).

unknown_request_answers() ->
    {Ms, _} = np_test:ms(fun() -> gen_server:call(sup(), {no, such, request}, 1000) end),
    ?assert(Ms < 500),
    ?assertMatch([{specs, _} | _], supervisor:count_children(sup())).

bad_child_specs_are_errors() ->
    [begin
         R = np_test:quietly(fun() -> gen_server:call(sup(), {start_child, Spec}, 1000) end),
         ?assertMatch({error, _}, R)
     end || Spec <- [x, {}, {{a, b, []}, permanent, 5000, worker, [a]},
                     {{a, b, [not_a_ref]}, permanent, 5000, worker, [a]},
                     {{a, b, c}, permanent, 5000, worker, [a]}, {{a, b, [ref(1) | improper]}, permanent, 5000, worker,
                         [a]},
                     {{a, b, [{ref, 'Elixir.Other.Worker'}]}, sometimes, 5000, worker, [a]}]],
    ?assertMatch([{specs, _} | _], supervisor:count_children(sup())).

thousand_children() ->
    Pids = [begin {ok, P} = start_child(ref({thousand, np_node:unique("t")}), [], temporary), P end
            || _ <- lists:seq(1, 1000)],
    ?assertEqual(1000, length(lists:usort(Pids))),
    Listed = [P || {_, P, _, _} <- workers_below(sup())],
    ?assertEqual([], Pids -- Listed),
    [ok = gen_server:call(sup(), {terminate_child, P}) || P <- Pids],
    ?assertEqual([], [P || {_, P, _, _} <- workers_below(sup()), lists:member(P, Pids)]).
