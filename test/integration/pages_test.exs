defmodule Palladion.Integration.PagesTest do
  @moduledoc "What a large page costs the caller's VM: nothing that outlives it, and no scheduler's time."

  # `:long_schedule` is about the whole VM.
  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.Test.Testkit

  @rows 5_000

  setup_all do
    server = Testkit.start_server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__, pool: [size: 1]))
    :ok = Palladion.await_ready(__MODULE__, 60_000)

    # Texts and bytes below and above 64 bytes, from where on the BEAM shares binaries.
    columns =
      "id int, short text, long text, bytes blob, tag uuid, many list<text>, pair tuple<int, text>"

    long = String.duplicate("x", 80)
    bytes = String.duplicate("ab", 70)

    rows =
      for id <- 1..@rows do
        tag = "00000000-0000-0000-0000-" <> String.pad_leading("#{id}", 12, "0")
        "(#{id}, 'short', '#{long}', 0x#{bytes}, #{tag}, ['#{long}'], (1, '#{long}'))"
      end

    rows =
      {:rows,
       columns: columns, rows: Enum.join(rows, ", "), paging_state: String.duplicate("x", 100)}

    :ok = Testkit.rule(server, equals: "SELECT page", reaction: rows)
    :ok
  end

  for shape <- [:maps, :atom_maps, :lists, :tuples, :columns] do
    test "a binary kept from a page of #{@rows} rows as #{shape} keeps nothing but itself" do
      result = page(rows: unquote(shape), uuids: :binary)
      assert result.num_rows == @rows
      binaries = binaries(result, [])
      assert length(binaries) >= 6 * @rows
      assert Enum.any?(binaries, &(byte_size(&1) > 64))

      for binary <- binaries do
        assert :binary.referenced_byte_size(binary) == byte_size(binary)
      end
    end
  end

  test "binaries kept from many pages cost what they are" do
    page([])
    before = binary_memory()

    kept =
      for _ <- 1..20 do
        row = page(page_size: @rows) |> Enum.at(4_321)
        {row["long"], row["bytes"], row["short"]}
      end

    # A page has more than 1.5 MB.
    assert binary_memory() - before < 1_000_000
    assert length(kept) == 20
  end

  test "pages are not decoded on a scheduler" do
    # A loaded machine can take a scheduler away for longer than that, but not each time.
    assert Enum.any?(1..5, fn _try -> undisturbed?() end)
  end

  defp undisturbed? do
    :erlang.system_monitor(self(), [{:long_schedule, 20}])

    # In a process whose heap has room, so that no time goes into collecting its garbage. As many
    # rows are far more than 20 ms of work for this build of the native library.
    fetch = fn ->
      for _ <- 1..5, do: %{num_rows: 20_000} = page("SELECT page(20000)", [])
    end

    {pid, monitor} = :erlang.spawn_opt(fetch, [:monitor, min_heap_size: 5_000_000])
    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}, 60_000

    :erlang.system_monitor(:undefined)
    long_schedules() == []
  end

  defp long_schedules do
    receive do
      {:monitor, what, :long_schedule, info} -> [{what, info} | long_schedules()]
    after
      0 -> []
    end
  end

  defp page(statement \\ "SELECT page", options) do
    Palladion.query!(__MODULE__, statement, [], [timeout: 30_000] ++ options)
  end

  defp binary_memory do
    :erlang.garbage_collect()
    :erlang.memory(:binary)
  end

  defp binaries(binary, found) when is_binary(binary), do: [binary | found]
  defp binaries([head | tail], found), do: binaries(tail, binaries(head, found))
  defp binaries(map, found) when is_map(map), do: map |> Map.to_list() |> binaries(found)

  defp binaries(tuple, found) when is_tuple(tuple),
    do: tuple |> Tuple.to_list() |> binaries(found)

  defp binaries(_other, found), do: found
end
