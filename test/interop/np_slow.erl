%% A slow network: an epmd of its own that says a node's port is that of a proxy, which passes on so many megabytes a
%% second each way. Give its port to a BEAM as its epmd.
-module(np_slow).
-export([start/2]).

%% {EpmdPort (text), Pid}; the proxy ends with the calling process.
start(Node, MbPerSecond) ->
    Self = self(),
    Target = np_raw:port(Node),
    Pid = spawn_link(fun() ->
        {ok, L} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {recbuf, 65536}, {sndbuf, 65536}]),
        {ok, E} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
        {ok, ProxyPort} = inet:port(L),
        {ok, EpmdPort} = inet:port(E),
        spawn_link(fun() -> proxy(L, Target, MbPerSecond) end),
        Self ! {self(), EpmdPort},
        epmd(E, ProxyPort)
    end),
    receive {Pid, EpmdPort} -> {integer_to_list(EpmdPort), Pid} after 2000 -> error(no_proxy) end.

epmd(E, ProxyPort) ->
    {ok, S} = gen_tcp:accept(E),
    Pid = spawn_link(fun() -> receive go -> answer(S, ProxyPort) end end),
    ok = gen_tcp:controlling_process(S, Pid),
    Pid ! go,
    epmd(E, ProxyPort).

answer(S, ProxyPort) ->
    case gen_tcp:recv(S, 2, 5000) of
        {ok, <<Len:16>>} ->
            {ok, Request} = gen_tcp:recv(S, Len, 5000),
            case Request of
                %% stays open, as epmd's does
                <<120, _/binary>> -> gen_tcp:send(S, <<118, 0, 77:32>>), gen_tcp:recv(S, 0);
                <<122, Name/binary>> ->
                    gen_tcp:send(S, <<119, 0, ProxyPort:16, 72, 0, 6:16, 5:16, (byte_size(Name)):16, Name/binary,
                                      0:16>>),
                    gen_tcp:close(S);
                _ -> gen_tcp:close(S)
            end;
        _ -> gen_tcp:close(S)
    end.

proxy(L, Target, Mb) ->
    {ok, A} = gen_tcp:accept(L),
    Pid = spawn_link(fun() ->
        receive go -> ok end,
        {ok, B} = gen_tcp:connect({127, 0, 0, 1}, Target, [binary, {active, false}, {recbuf, 65536}, {sndbuf, 65536}]),
        Back = spawn_link(fun() -> receive go -> pump(B, A, Mb) end end),
        Back ! go,
        pump(A, B, Mb)
    end),
    ok = gen_tcp:controlling_process(A, Pid),
    Pid ! go,
    proxy(L, Target, Mb).

%% Takes what is there, at most Mb * 10 kB each 10 ms.
pump(From, To, Mb) ->
    case gen_tcp:recv(From, 0) of
        {ok, Bytes} ->
            ok = gen_tcp:send(To, Bytes),
            timer:sleep(max(0, byte_size(Bytes) div (Mb * 1000))),
            pump(From, To, Mb);
        {error, _} -> gen_tcp:close(To)
    end.
