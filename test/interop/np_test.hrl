%% What every suite includes: OTP's assertion macros and the names fixed for users (README).
-include_lib("stdlib/include/assert.hrl").

-define(COUNTER, 'Elixir.MyPool').
-define(COUNTER_SERVER, 'Elixir.MyPool.Server').
-define(COUNTER_SUP, 'Elixir.MyPool.WorkerSupervisor').
-define(ECHO, 'Elixir.Echo').
-define(ECHO_SERVER, 'Elixir.Echo.Server').
-define(ECHO_SUP, 'Elixir.Echo.WorkerSupervisor').
-define(KV, 'Elixir.Kv').
-define(KV_SERVER, 'Elixir.Kv.Server').
