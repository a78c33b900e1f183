defmodule Palladion.Trace.Reader do
  @moduledoc false
  # Reads the rows of a trace, in the caller's process. Servers write them in the background, after
  # they have answered the request: so it asks again, less and less often, until the trace is there.

  alias Palladion.{ConnectionError, Error, Request}

  @first_pause 5
  @longest_pause 250

  @doc false
  # The row of the session, which has its duration, and those of the events, in their order.
  @spec read(Palladion.name(), String.t(), map()) :: {:ok, map(), [map()]} | Palladion.error()
  def read(name, id, %{timeout: timeout, consistency: level}) do
    with {:ok, timeout} <- timeout(name, timeout) do
      trace = %{name: name, id: id, timeout: timeout, deadline: deadline(timeout), level: level}

      with {:ok, session} <- session(trace, @first_pause, nil),
           {:ok, events} <- ask(trace, "events") do
        {:ok, session, events}
      else
        {:error, error} -> {:error, of_all(error, timeout)}
      end
    end
  end

  # The time that the caller gave, and not what was left of it for one question.
  defp of_all(%ConnectionError{reason: :timeout} = error, timeout),
    do: %{error | details: Map.put(error.details, :timeout, timeout)}

  defp of_all(error, _timeout), do: error

  defp timeout(name, nil), do: Request.timeout(name)
  defp timeout(_name, timeout), do: {:ok, timeout}

  # `found` is what the last answer had: `nil` before the first.
  defp session(trace, pause, found) do
    case ask(trace, "sessions") do
      {:ok, [%{"duration" => duration} = session]} when duration != nil -> {:ok, session}
      {:ok, rows} -> wait(trace, pause, rows)
      # The time for the last question was short, for most of it went by with waiting.
      {:error, %ConnectionError{reason: :timeout}} when found != nil -> unavailable(trace, found)
      {:error, _exception} = error -> error
    end
  end

  defp wait(trace, pause, found) do
    # Less than any atom is any number.
    if pause < remaining(trace.deadline) do
      Process.sleep(pause)
      session(trace, min(2 * pause, @longest_pause), found)
    else
      unavailable(trace, found)
    end
  end

  # The id is no bind marker, since a prepared `SELECT *` has the columns of the version that
  # prepared it.
  defp ask(trace, table) do
    statement = "SELECT * FROM system_traces.#{table} WHERE session_id = #{trace.id}"
    forms = [rows: :maps, uuids: :text, timestamps: :datetime, page_size: :infinity]
    options = [timeout: remaining(trace.deadline), consistency: trace.level] ++ forms

    with {:ok, result} <- Request.query(trace.name, statement, [], options),
         do: {:ok, result.rows}
  end

  defp unavailable(%{id: id, timeout: timeout}, found) do
    begun? = found != []

    what =
      if begun?,
        do: "the servers have begun the trace, but not ended it,",
        else: "the servers have no such trace"

    {:error,
     %Error{
       reason: :trace_unavailable,
       message: "#{what} after #{timeout} ms",
       details: %{tracing_id: id, begun: begun?, timeout: timeout}
     }}
  end

  defp deadline(:infinity), do: :infinity
  defp deadline(timeout), do: System.monotonic_time(:millisecond) + timeout

  defp remaining(:infinity), do: :infinity
  defp remaining(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)
end
