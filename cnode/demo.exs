# The transcript of `cnode/demo --batch`: evaluates one expression after the other on this BEAM node, prints them as iex does, and
# checks each result against a pattern. Exits 0 only if all match.
defmodule Demo do
  @limit_ms 20_000

  # {expression, pattern its result must match}; variables bound by an expression are there in those that follow.
  def steps do
    [
      {~S|node = String.to_atom(System.fetch_env!("NATIVE_NODE"))|, "n when is_atom(n)"},
      {~S|Node.connect(node)|, "true"},
      {~S|Node.ping(node)|, ":pong"},
      {~S|node in Node.list(:hidden)|, "true"},
      {~S|{:ok, counter} = GenServer.call({MyPool.Server, node}, {:whereis, 1})|, "{:ok, pid} when is_pid(pid)"},
      {~S|GenServer.call(counter, :increment)|, "1"},
      {~S|GenServer.call(counter, :increment)|, "2"},
      {~S|GenServer.call(counter, {:add, 40})|, "42"},
      {~S|GenServer.cast(counter, :increment)|, ":ok"},
      {~S|GenServer.call(counter, :get)|, "43"},
      {~S|GenServer.call(counter, :nonsense)|, "{:unhandled, :nonsense}"},
      {~S|GenServer.call({MyPool.Server, node}, {:whereis, 99})|, "{:error, :not_registered}"},
      {~S|Supervisor.count_children({MyPool.WorkerSupervisor, node}).active|, "n when n >= 1"},
      {~S|{:ok, echo} = GenServer.call({EchoPool.Server, node}, {:whereis, 1})|, "{:ok, _}"},
      {~S|GenServer.call(echo, %{any: ["term", 1.5, {:ok, make_ref()}]})|, "%{any: [\"term\", 1.5, {:ok, _}]}"},
      {~S|{:ok, kv} = GenServer.call({KvPool.Server, node}, {:whereis, 1})|, "{:ok, _}"},
      {~S|GenServer.call(kv, {:put, "colour", "green"})|, "_"},
      {~S|GenServer.call(kv, {:get, "colour"})|, "{:ok, \"green\"}"},
      {~S|:sys.get_state(counter)|, "_"},
      {~S|:erpc.call(node, :native_pool, :stats, [])|, "stats when is_map(stats) or is_list(stats)"},
      {~S|monitor = Process.monitor(counter)|, "ref when is_reference(ref)"},
      {~S|GenServer.stop(counter)|, ":ok"},
      {~S|receive do message -> message after 5000 -> :nothing end|, "{:DOWN, _, :process, _, :normal}"},
      {~S|try do GenServer.call(counter, :get) catch :exit, {reason, _} -> reason end|, ":noproc"}
    ]
  end

  def run do
    {_, wrong} =
      steps()
      |> Enum.with_index(1)
      |> Enum.reduce({[], 0}, fn {{expression, pattern}, n}, {bindings, wrong} ->
        IO.puts("iex(#{n})> #{expression}")
        {result, bindings} = evaluate(expression, bindings)
        IO.puts(inspect(result, pretty: true, width: 100))

        if matches?(result, pattern) do
          {bindings, wrong}
        else
          IO.puts("** WRONG: expected #{pattern}")
          {bindings, wrong + 1}
        end
      end)

    IO.puts("#{length(steps()) - wrong} of #{length(steps())} answers were right")
    System.halt(if wrong == 0, do: 0, else: 1)
  end

  # In this process, as iex does; a step that hangs ends the demo.
  defp evaluate(expression, bindings) do
    {:ok, timer} = :timer.apply_after(@limit_ms, __MODULE__, :give_up, [expression])

    try do
      Code.eval_string(expression, bindings)
    catch
      kind, reason -> {{kind, reason}, bindings}
    after
      :timer.cancel(timer)
    end
  end

  def give_up(expression) do
    IO.puts("** WRONG: no answer within #{@limit_ms} ms: #{expression}")
    System.halt(1)
  end

  defp matches?(result, pattern) do
    {matches, _} = Code.eval_string("match?(#{pattern}, result)", result: result)
    matches
  end
end

Demo.run()
