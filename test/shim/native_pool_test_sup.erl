%% A supervisor of the child specifications it is given.
-module(native_pool_test_sup).
-behaviour(supervisor).
-export([init/1]).

init(Specs) -> {ok, {#{intensity => 3, period => 5}, Specs}}.
