defmodule Palladion.Integration.HostileTest do
  @moduledoc """
  A server that means harm, whatever version and compression it speaks: what it says costs the request that it answers, and
  the connection on which nothing can be understood any more. Everything else goes on.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Hostile, Simulated}

  alias Palladion.{ConnectionError, Error, Result}
  alias Palladion.Test.{Memory, TelemetryEvents, Testkit}

  @moduletag :capture_log

  @dialects for version <- [3, 4, 5],
                compression <- [nil, :lz4, :snappy],
                {version, compression} != {5, :snappy},
                do: {version, compression}

  # Results with nonsense in them.
  @unreadable ~w(negative_rows negative_columns negative_collection huge_rows huge_columns huge_collection) ++
                ~w(deep_types truncated)
  # What can't be a frame, or an answer to anything.
  @broken ~w(huge_frame unknown_opcode other_version unknown_stream negative_stream)
  # What not every version and compression has, or ends otherwise.
  @others ~w(compressed_flag bomb bad_offset partial_frame partial_segment half_frame) ++
            ~w(segment_header_crc segment_payload_crc)
  @zeros 48 * 1024 * 1024
  @mib 1024 * 1024

  setup_all do
    server = Testkit.start_server(tls: false)
    for kind <- @unreadable ++ @broken ++ @others, do: attack(server, kind)
    attack(server, "zeros", size: @zeros)
    %{server: server}
  end

  defp attack(server, kind, size \\ []) do
    :ok = Testkit.rule(server, equals: text(kind), reaction: {:hostile, [kind: kind] ++ size})
  end

  defp text(kind), do: "SELECT #{kind}"

  # What each attack ends with, for the caller and for the connection.
  defp attacks({version, compression}) do
    for(kind <- @unreadable, do: {kind, :decode_failed, :protocol_error}) ++
      for(kind <- @broken, do: {kind, :connection_lost, :protocol_error}) ++
      compressed(version, compression) ++ segmented(version)
  end

  defp compressed(5, nil), do: []
  defp compressed(_, nil), do: [{"compressed_flag", :connection_lost, :protocol_error}]

  defp compressed(version, _compression) do
    # Bodies are read where the answer is decoded, segments where they arrive.
    read_late = if version == 5, do: :connection_lost, else: :decode_failed
    [{"bomb", :connection_lost, :protocol_error}, {"bad_offset", read_late, :protocol_error}]
  end

  defp segmented(version) do
    partial = [{"partial_frame", :heartbeat_timeout, :heartbeat_timeout}]

    if version == 5 do
      [{"partial_segment", :heartbeat_timeout, :heartbeat_timeout} | partial] ++
        for kind <- ~w(half_frame segment_header_crc segment_payload_crc),
            do: {kind, :connection_lost, :protocol_error}
    else
      partial
    end
  end

  for {version, compression} = dialect <- @dialects do
    test "an attack in version #{version}, #{compression || "plain"}, costs its request and its connection",
         context do
      name = cluster!(context.server, unquote(dialect))
      id = TelemetryEvents.attach(only: pids(name)[Palladion.Cluster.Server])
      traffic = start_traffic(name)

      for {kind, reason, of_connection} <- attacks(unquote(dialect)) do
        assert {kind, reason} == {kind, asked(name, kind).reason}
        assert_receive {:telemetry, ^id, [:palladion, :connection, :closed], _, closed}, 5_000
        assert {kind, of_connection, :pool} == {kind, closed.reason, closed.role}
        await_connected(name)
      end

      :telemetry.detach(id)

      closed =
        for {[_, :connection, :closed], _, _} = event <- TelemetryEvents.take(id), do: event

      assert closed == []
      assert stop_traffic(traffic) == []
      await_whole(name)
      assert mailbox() == []
    end
  end

  # The error, and that nothing else comes.
  defp asked(name, kind) do
    fn ->
      {:error, error} = Palladion.query(name, text(kind), [], retry: :none)
      assert %module{} = error
      assert module == if(error.reason == :decode_failed, do: Error, else: ConnectionError)
      assert mailbox() == []
      error
    end
    |> Task.async()
    |> Task.await(20_000)
  end

  # Callers who compare each answer with their question. With the default policy an answer that was lost with a connection is
  # asked for once more, so none of them is told of anything.
  defp start_traffic(name) do
    stop = :atomics.new(1, [])
    echo = Palladion.prepare!(name, "SELECT echo(int, text)")
    ask = fn n -> Palladion.execute(name, echo, [n, words(n)]) end
    {stop, for(caller <- 1..4, do: Task.async(fn -> ask_on(stop, ask, caller * 1_000_000) end))}
  end

  defp ask_on(stop, ask, n) do
    with 0 <- :atomics.get(stop, 1),
         expected = [%{"c0" => n, "c1" => words(n)}],
         {:ok, %Result{rows: ^expected}} <- ask.(n) do
      Process.sleep(1)
      ask_on(stop, ask, n + 1)
    else
      1 -> mailbox()
      other -> [other]
    end
  end

  defp stop_traffic({stop, callers}) do
    :atomics.put(stop, 1, 1)
    callers |> Task.await_many(20_000) |> Enum.concat()
  end

  defp words(n), do: "words for #{n}"

  describe "memory" do
    for dialect <- [{4, :lz4}, {4, :snappy}, {5, :lz4}] do
      test "is what it was after hundreds of attacks in #{inspect(dialect)}", %{server: server} do
        name = cluster!(server, unquote(dialect))
        kinds = ~w(bomb bad_offset partial_frame) ++ @unreadable ++ @broken
        # What grows once has grown by then.
        attack_all(name, kinds, 2)
        before = memory()
        attack_all(name, kinds -- ["partial_frame"], 10)
        attack_all(name, ["partial_frame"], 2)
        later = memory()
        assert later.peak - before.rss < 32 * @mib
        assert later.rss - before.rss < 24 * @mib
        assert later.total - before.total < 16 * @mib
        assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
      end

      test "is not taken for what becomes too large in #{inspect(dialect)}", %{server: server} do
        # It takes the server longer than a heartbeat to make them.
        options = [protocol: [max_response_size: @mib], heartbeat_timeout: 10_000]
        name = cluster!(server, unquote(dialect), options)
        before = memory()

        # All that was sent is some hundred KiB to a few MiB; what it stands for is never there as a whole.
        assert {:error, %Error{reason: :response_too_large, details: %{size: size}}} =
                 Palladion.query(name, text("zeros"), [], timeout: 20_000)

        assert size > @mib
        assert memory().peak - before.rss < 24 * @mib
        assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
      end
    end
  end

  defp attack_all(name, kinds, times) do
    for _ <- 1..times, kind <- kinds, do: asked(name, kind)
    await_whole(name)
  end

  # In bytes. Each time the kernel begins anew to note the highest, where it lets us say so.
  defp memory do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    memory = Map.put(Memory.now(), :peak, Memory.of_system("VmHWM"))
    File.write("/proc/self/clear_refs", "5")
    memory
  end

  describe "a value that its type doesn't admit" do
    @int <<9::16>>
    @values [
      {"an int of three bytes", @int, <<1, 2, 3>>, "3 bytes are no int"},
      {"a boolean of two", <<4::16>>, <<1, 0>>, "2 bytes are no boolean"},
      {"a double of seven", <<7::16>>, <<0::56>>, "7 bytes are no double"},
      {"a UUID of fifteen", <<12::16>>, <<0::120>>, "15 bytes are no uuid"},
      {"an inet of five", <<16::16>>, <<0::40>>, "5 bytes are no inet"},
      {"a decimal of two", <<6::16>>, <<1, 2>>, "2 bytes are no decimal"},
      {"a decimal without digits", <<6::16>>, <<0::32>>, "4 bytes are no decimal"},
      {"a duration of one", <<21::16>>, <<0xFF>>, "1 bytes are no duration"},
      {"invalid UTF-8", <<13::16>>, "abc" <> <<0xFF>>, "text is not valid UTF-8"},
      {"one of them in a list", <<32::16>> <> @int, <<1::32, 3::32, 1, 2, 3>>,
       "3 bytes are no int"}
    ]

    for {version, compression} = dialect <- @dialects do
      test "costs its request alone in version #{version}, #{compression || "plain"}" do
        server = Testkit.start_server(tls: false)
        name = cluster!(server, unquote(dialect), heartbeat_interval: 10_000)

        for {what, type, value, detail} <- @values do
          reaction = {:frame, answer: :result, body: one_row(type, value)}
          Testkit.rule(server, equals: "SELECT " <> what, reaction: reaction)

          assert {:error, %Error{reason: :decode_failed, message: ^detail}} =
                   Palladion.query(name, "SELECT " <> what)
        end

        assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
        # The control connection, and those two that there were all the time.
        assert [%{open: true}, %{open: true}, %{open: true}] = Testkit.connections(server)
        await_whole(name)
        assert mailbox() == []
      end
    end
  end

  # The body of a RESULT of rows, with one column.
  defp one_row(type, value) do
    names = for name <- ["testkit", "hostile", "c"], do: [<<byte_size(name)::16>>, name]
    head = [<<2::32, 1::32, 1::32>>, names, type]
    IO.iodata_to_binary([head, <<1::32, byte_size(value)::32>>, value])
  end

  describe "events" do
    test "that can't be read are a hint like any other", %{server: server} do
      name = cluster!(server, {5, :lz4})
      id = TelemetryEvents.attach()
      connections = length(Testkit.connections(server))

      for body <- [
            "",
            <<0xFFFF::16>>,
            string("NONSENSE") <> string("x"),
            string("STATUS_CHANGE") <> string("UP") <> <<5, 1, 2, 3>>,
            string("TOPOLOGY_CHANGE") <> string("NEW_NODE") <> <<4, 1, 2, 3, 4, -1::32>>,
            string("SCHEMA_CHANGE") <> string("WHAT"),
            :binary.copy(<<0xA5>>, 10_000)
          ] do
        TelemetryEvents.take(id)
        Testkit.event(server, kind: :raw, body: body)
        assert_receive {:telemetry, ^id, [_, :topology, :refreshed], _, _}, 5_000
        assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
      end

      :telemetry.detach(id)

      assert for({[_, :connection | _], _, _} = event <- TelemetryEvents.take(id), do: event) ==
               []

      assert length(Testkit.connections(server)) == connections
    end

    test "by the hundred thousand hold nobody up" do
      server = Testkit.start_server(tls: false)
      attack(server, "event_flood", size: 100_000)
      peers = [contains: "FROM system.peers", times: 1]

      for dialect <- [{4, nil}, {5, :lz4}] do
        name = cluster!(server, dialect, heartbeat_timeout: 10_000)
        connections = length(Testkit.connections(server))
        before = memory()
        flood = {:hostile, kind: :event_flood, size: 100_000}
        Testkit.rule(server, peers ++ [reaction: flood])
        # Has the control connection ask for the nodes.
        Testkit.event(server, kind: :topology, change: "NEW_NODE", node: "127.0.0.9:9042")
        flooded = Task.async(fn -> Palladion.query(name, text("event_flood")) end)
        assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
        assert {:ok, %Result{}} = Task.await(flooded)
        await_whole(name)

        eventually("the cluster's processes have nothing to do", fn ->
          for({_, pid} <- pids(name), do: Process.info(pid, :message_queue_len)) |> Enum.uniq() ==
            [{:message_queue_len, 0}]
        end)

        assert memory().peak - before.rss < 32 * @mib
        assert length(Testkit.connections(server)) == connections
        assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
      end
    end
  end

  defp string(text), do: <<byte_size(text)::16, text::binary>>
end
