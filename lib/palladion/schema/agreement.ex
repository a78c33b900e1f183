defmodule Palladion.Schema.Agreement do
  @moduledoc false
  # Whether all nodes that are up have the same schema, of what one of them knows: the rows of
  # its `system.local` and its `system.peers_v2` or `system.peers`.
  #
  # A peer counts if its row has a `host_id` and a `schema_version`, for rows of nodes that left
  # or were never complete stay behind, and if that host_id isn't known to be down. UUIDs may be
  # texts or bytes, but all the same.

  @type row :: %{optional(String.t()) => term()}

  @doc false
  @spec agreed?([row()], [row()], Enumerable.t()) :: boolean()
  def agreed?(local_rows, peers_rows, down_host_ids) do
    versions = versions(local_rows, peers_rows, down_host_ids)
    map_size(versions) == 1 and not is_map_key(versions, nil)
  end

  @doc false
  # How many nodes have which version. That of the node asked can be `nil`, while it starts.
  @spec versions([row()], [row()], Enumerable.t()) :: %{(binary() | nil) => pos_integer()}
  def versions(local_rows, peers_rows, down_host_ids) do
    down = MapSet.new(down_host_ids)
    peers = Enum.filter(peers_rows, &(complete?(&1) and &1["host_id"] not in down))
    Enum.frequencies_by(local_rows ++ peers, & &1["schema_version"])
  end

  # A row that was asked for without addresses can't lack one.
  defp complete?(row) do
    row["host_id"] != nil and row["schema_version"] != nil and
      Map.get(row, "native_address", :unasked) != nil and
      Map.get(row, "rpc_address", :unasked) != nil
  end

  @doc false
  # Asks until there is agreement or the deadline has passed, at least once: `fetch` for the rows,
  # `down?` for each peer's host_id. A failed `fetch` is no agreement yet. The deadline is in ms of
  # `System.monotonic_time/1` or `:infinity`, the interval in ms.
  @spec wait(
          (() -> {:ok, {[row()], [row()]}} | {:error, term()}),
          (term() -> boolean()),
          integer() | :infinity,
          pos_integer()
        ) :: boolean()
  def wait(fetch, down?, deadline, interval) do
    poll(fn -> agreed_now?(fetch, down?) end, deadline, interval)
  end

  @doc false
  # Asks until the answer is yes or the deadline has passed, at least once.
  @spec poll((() -> boolean()), integer() | :infinity, pos_integer()) :: boolean()
  def poll(reached?, deadline, interval) do
    if reached?.() do
      true
    else
      case remaining(deadline) do
        0 ->
          false

        left ->
          # The least of a number and :infinity is the number.
          Process.sleep(min(interval, left))
          poll(reached?, deadline, interval)
      end
    end
  end

  defp agreed_now?(fetch, down?) do
    case fetch.() do
      {:ok, {local_rows, peers_rows}} ->
        down = for %{"host_id" => id} <- peers_rows, id != nil and down?.(id), do: id
        agreed?(local_rows, peers_rows, down)

      {:error, _error} ->
        false
    end
  end

  defp remaining(:infinity), do: :infinity
  defp remaining(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)
end
