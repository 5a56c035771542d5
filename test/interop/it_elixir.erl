%% The same from Elixir: it_elixir.exs, an ExUnit suite, against the shared node.
-module(it_elixir).
-compile(export_all).
-compile(nowarn_export_all).
-include("np_test.hrl").

cases() -> [{exunit, #{timeout => 60000}}].

exunit() ->
    case os:find_executable("elixir") of
        false -> {skip, "no elixir here"};
        Elixir ->
            Script = filename:join(os:getenv("NP_SOURCE"), "it_elixir.exs"),
            Port = open_port({spawn_executable, Elixir},
                             [{args, ["--name", np_node:unique("ex") ++ "@127.0.0.1", "--cookie", np_node:cookie(),
                                      Script]},
                              {env, [{"NP_NODE", atom_to_list(np_node:main())},
                                     {"NP_MODE", atom_to_list(np_node:mode())}]},
                              exit_status, stderr_to_stdout, binary]),
            {Status, Output} = wait(Port, <<>>),
            Status =:= 0 orelse io:put_chars(Output),
            ?assertEqual(0, Status),
            {match, [Summary]} = re:run(Output, "[0-9]+ tests?, .*", [{capture, first, binary}]),
            {note, Summary}
    end.

wait(Port, Acc) ->
    receive
        {Port, {data, Bytes}} -> wait(Port, <<Acc/binary, Bytes/binary>>);
        {Port, {exit_status, Status}} -> {Status, Acc}
    end.
