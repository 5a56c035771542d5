%% The pool supervisor of the stand-in.
-module(np_standin_sup).
-behaviour(supervisor).
-export([init/1]).

init(Spec) -> {ok, Spec}.
