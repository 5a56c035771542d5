# What a user types in iex, as an ExUnit suite. Started by it_elixir.erl, with the node's name in NP_NODE.
excluded = if System.get_env("NP_MODE") == "beam", do: [:native], else: []
ExUnit.start(seed: 0, colors: [enabled: false], exclude: excluded)

defmodule NativePool.InteropTest do
  use ExUnit.Case

  @node String.to_atom(System.get_env("NP_NODE"))
  @sup {MyPool.WorkerSupervisor, @node}

  setup_all do
    true = Node.connect(@node)
    :ok
  end

  defp worker(restart \\ :temporary) do
    id = System.unique_integer([:positive])
    args = [{:ref, MyPool.Worker, {:ex, node(), id}}, []]
    spec = %{id: id, start: {MyPool.Worker, :start_link, args}, restart: restart}
    {:ok, pid} = DynamicSupervisor.start_child(@sup, spec)
    pid
  end

  # A worker supervisor's children are its segments, whose children are the workers.
  defp workers(sup) do
    Enum.flat_map(DynamicSupervisor.which_children(sup), fn
      {_, pid, :supervisor, _} -> workers(pid)
      worker -> [worker]
    end)
  end

  test "Node.ping, Node.list" do
    assert Node.ping(@node) == :pong
    refute @node in Node.list()
    assert @node in Node.list(:hidden)
    assert @node in Node.list(:connected)
  end

  test "GenServer.call by pid, and by name and node" do
    pid = worker()
    assert GenServer.call(pid, :increment) == 1
    assert GenServer.call(pid, {:add, 2}) == 3
    assert {:ok, one} = GenServer.call({MyPool.Server, @node}, {:whereis, 1})
    assert is_integer(GenServer.call(one, :get))
    assert GenServer.call({MyPool.Server, @node}, {:whereis, :nobody}) == {:error, :not_registered}
  end

  test "GenServer.cast" do
    pid = worker()
    for _ <- 1..10, do: GenServer.cast(pid, :increment)
    GenServer.cast(pid, {:add, 5})
    assert GenServer.call(pid, :get) == 15
  end

  test "a call to a missing name exits with noproc at once" do
    {us, reason} = :timer.tc(fn -> catch_exit(GenServer.call({Nobody, @node}, :x)) end)
    assert {:noproc, {GenServer, :call, _}} = reason
    assert us < 1_000_000
  end

  test "a call that times out leaves nothing in the mailbox" do
    {:ok, kv} = GenServer.call({Kv.Server, @node}, {:whereis, 1})
    key = inspect(make_ref())
    assert {:timeout, _} = catch_exit(GenServer.call(kv, {:await, key, 100}, 30))
    Process.sleep(200)
    refute_received _
  end

  test "Process.monitor" do
    pid = worker()
    ref = Process.monitor(pid)
    Process.exit(pid, :because)
    assert_receive {:DOWN, ^ref, :process, ^pid, :because}, 1000
    again = Process.monitor(pid)
    assert_receive {:DOWN, ^again, :process, ^pid, :noproc}, 1000
    named = Process.monitor({Nobody, @node})
    assert_receive {:DOWN, ^named, :process, {Nobody, @node}, :noproc}, 1000
  end

  test "Process.link" do
    Process.flag(:trap_exit, true)
    pid = worker()
    Process.link(pid)
    GenServer.stop(pid, :shutdown)
    assert_receive {:EXIT, ^pid, :shutdown}, 1000
  end

  test "GenServer.stop" do
    pid = worker()
    assert GenServer.stop(pid) == :ok
    assert catch_exit(GenServer.stop(pid)) in [:noproc, {:noproc, {GenServer, :stop, [pid, :normal, :infinity]}}]
    assert GenServer.stop(worker(), {:shutdown, :x}, 1000) == :ok
  end

  test ":sys" do
    pid = worker()
    GenServer.call(pid, {:add, 7})
    assert inspect(:sys.get_state(pid)) =~ "7"
    assert {:status, ^pid, {:module, _}, [_, :running, _, _, _]} = :sys.get_status(pid)
    :ok = :sys.suspend(pid)
    task = Task.async(fn -> GenServer.call(pid, :increment) end)
    assert Task.yield(task, 100) == nil
    :ok = :sys.resume(pid)
    assert Task.await(task) == 8
    :ok = :sys.statistics(pid, true)
    GenServer.call(pid, :get)
    assert {:ok, stats} = :sys.statistics(pid, :get)
    assert stats[:messages_in] >= 1
  end

  @tag :native
  test ":sys.replace_state is refused" do
    assert_raise ErlangError, fn -> :sys.replace_state(worker(), fn s -> s end) end
  end

  test "Supervisor on the pool" do
    children = Supervisor.which_children({MyPool, @node})
    assert Enum.all?(children, fn {_, pid, type, _} -> is_pid(pid) and type in [:worker, :supervisor] end)
    counts = Supervisor.count_children({MyPool, @node})
    assert counts.specs == length(children)
    assert Map.keys(counts) |> Enum.sort() == [:active, :specs, :supervisors, :workers]
  end

  test "DynamicSupervisor" do
    ref = {:ref, MyPool.Worker, System.unique_integer()}
    spec = %{id: ref, start: {MyPool.Worker, :start_link, [ref, []]}, restart: :temporary}
    assert {:ok, pid} = DynamicSupervisor.start_child(@sup, spec)
    assert {:error, {:already_started, ^pid}} = DynamicSupervisor.start_child(@sup, spec)
    assert {:undefined, pid, :worker, [MyPool.Worker]} in workers(@sup)
    assert DynamicSupervisor.count_children(@sup).active >= 1
    assert DynamicSupervisor.terminate_child(@sup, pid) == :ok
    assert DynamicSupervisor.terminate_child(@sup, pid) == {:error, :not_found}
  end

  @tag :native
  test "a task supervisor it is not" do
    assert {:case_clause, {:error, :notsup}} = catch_error(Task.Supervisor.async_nolink(@sup, fn -> 1 end))
    assert {:ok, _} = GenServer.call({MyPool.Server, @node}, {:whereis, 1})
  end

  test ":erpc and :rpc" do
    assert :erpc.call(@node, :erlang, :node, []) == @node
    assert Keyword.has_key?(:erpc.call(@node, :erlang, :memory, []), :total)
    assert {:badrpc, {:EXIT, {:undef, _}}} = :rpc.call(@node, :no, :function, [])
    assert_raise ErlangError, fn -> :erpc.call(@node, NoModule, :f, [1]) end
  end

  @tag :native
  test ":native_pool.stats" do
    assert :erpc.call(@node, :native_pool, :stats, []) != nil
  end

  @tag :native
  test "Node.spawn of a fun is refused" do
    pid = Node.spawn(@node, fn -> :ok end)
    assert catch_error(Node.spawn_monitor(@node, fn -> :ok end)) || is_pid(pid)
  end

  test "terms come back as they went" do
    {:ok, echo} = GenServer.call({Echo.Server, @node}, {:whereis, 1})

    terms =
      [nil, 1..3, %{a: %{b: [c: 1]}}, "grüß", 'charlist', [1 | 2], ~D[2024-01-01], MapSet.new([1]), 1.5] ++
        [self(), make_ref(), fn x -> x end, <<1::3>>]

    for term <- terms do
      assert GenServer.call(echo, term) === term
    end

    big = :binary.copy("x", 10_000_000)
    assert GenServer.call(echo, big) == big
  end
end
