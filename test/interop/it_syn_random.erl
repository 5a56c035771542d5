%% Random operations on three BEAM and two native nodes under load, while connections are cut, scope processes and nodes
%% are killed; after each of these and at the end all views are equal.
%% NP_SYN_SECONDS: how long (default 12), NP_SYN_SEED: which (default: another one each time, and it is printed).
-module(it_syn_random).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

-define(DRIVERS, 3). % on each BEAM node

cases() ->
    Flavours = [np_syn_cluster:flavour(mixed) | [F || {_, [{real, _, _} | _]} = F <- np_syn_cluster:flavours()]],
    [{random_operations, #{with => {element(1, F), F}, native => true, own_node => true, alone => true,
                           timeout => (seconds() + 120) * 1000}} || F <- Flavours].

seconds() -> list_to_integer(os:getenv("NP_SYN_SECONDS", "12")).

seed() ->
    case os:getenv("NP_SYN_SEED") of
        false -> erlang:phash2({os:timestamp(), self()});
        Text -> list_to_integer(Text)
    end.

random_operations({_, Syns}) ->
    Seed = seed(),
    rand:seed(exsss, Seed),
    #{beams := Beams, natives := Natives} = C = np_syn_cluster:start(Syns),
    Nodes = [N || #{node := N} <- Natives],
    [ok = np_node:on(B, fun() -> np_syn_driver:start(?DRIVERS, Nodes, Seed) end) || B <- Beams],
    mode(C, all),
    Deadline = erlang:monotonic_time(millisecond) + seconds() * 1000,
    {Last, Took} = try chaos(C, Deadline, [])
                   catch Class:Why:Stack -> erlang:raise(Class, {seed, Seed, Why}, Stack) end,
    mode(Last, none),
    End = np_syn_cluster:settled(Last),
    Reports = [np_node:on(B, fun() -> np_syn_driver:report() end) || B <- Beams],
    {Ops, Calls, Odd} = lists:unzip3(Reports),
    ?assertEqual({Seed, []}, {Seed, lists:append(Odd)}),
    {Names, _} = np_node:on(hd(Beams), fun() -> np_syn:view(users) end),
    ?assert(length(Names) > 20),
    Worst = case lists:reverse(lists:keysort(2, Took)) of [{W, Ms} | _] -> {W, Ms}; [] -> none end,
    {note, io_lib:format("seed ~b: ~b operations, ~b calls, ~b disturbances, worst ~w, at the end ~b names equal"
        " after ~b ms", [Seed, lists:sum(Ops), lists:sum(Calls), length(Took), Worst, length(Names), End])}.

mode(#{beams := Beams}, Mode) -> [ok = np_node:on(B, fun() -> np_syn_driver:mode(Mode) end) || B <- Beams].

some(List) -> lists:nth(rand:uniform(length(List)), List).

chaos(C, Deadline, Took) ->
    timer:sleep(500 + rand:uniform(1000)),
    case erlang:monotonic_time(millisecond) > Deadline of
        true -> {C, Took};
        false ->
            What = some([disconnect, disconnect, split, island, partition, partition, beam_scopes, native_scopes,
                         native_killed]),
            mode(C, apart),
            New = disturb(What, C),
            mode(C, none),
            Ms = try np_syn_cluster:settled(New, 4000)
                 catch error:Why -> error({after_disturbance, What, Why}) end,
            mode(New, all),
            chaos(New, Deadline, [{What, Ms} | Took])
    end.

disturb(disconnect, #{beams := Beams, natives := Natives} = C) ->
    [B, #{node := Node}] = [some(Beams), some(Natives)],
    np_node:on(B, fun() -> erlang:disconnect_node(Node) end),
    timer:sleep(rand:uniform(50)),
    C;
disturb(split, #{beams := Beams, natives := Natives} = C) ->
    [B, N] = [some(Beams), some(Natives)],
    np_syn_cluster:split(B, N),
    timer:sleep(rand:uniform(800)),
    np_syn_cluster:heal(B, N),
    C;
disturb(island, #{beams := Beams, natives := Natives} = C) ->
    N = some(Natives),
    [np_syn_cluster:split(B, N) || B <- Beams],
    timer:sleep(rand:uniform(800)),
    [np_syn_cluster:heal(B, N) || B <- Beams],
    C;
disturb(partition, #{beams := Beams, natives := Natives} = C) ->
    [np_syn_cluster:split(B, N) || B <- Beams, N <- Natives],
    mode(C, cut),
    timer:sleep(200 + rand:uniform(800)),
    mode(C, none),
    [np_syn_cluster:heal(B, N) || B <- Beams, N <- Natives],
    C;
disturb(beam_scopes, #{beams := Beams} = C) ->
    np_node:on(some(Beams), fun() -> [exit(P, kill) || {_, P} <- np_syn:pids()] end),
    timer:sleep(20),
    C;
disturb(native_scopes, #{beams := Beams, natives := Natives} = C) ->
    #{node := Node} = some(Natives),
    np_node:on(hd(Beams), fun() ->
        [exit(erpc:call(Node, erlang, whereis, [Name]), kill) || Name <- [syn_registry_users, syn_pg_users,
                                                                          syn_registry_other, syn_pg_other]]
    end),
    timer:sleep(20),
    C;
disturb(native_killed, #{natives := Natives} = C) ->
    N = some(Natives),
    np_node:kill(N, "KILL"),
    {exited, _} = np_node:wait_exit(N, 2000),
    timer:sleep(rand:uniform(500)),
    C#{natives := (Natives -- [N]) ++ [np_node:restart(N)]}.
