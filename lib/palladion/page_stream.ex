defmodule Palladion.PageStream do
  @moduledoc false
  # The pages of a statement as a lazy stream. It asks for nothing before the first element is
  # wanted; from then on the page after the one that is being consumed is under way, asked for by
  # the process that enumerates.

  alias Palladion.{Request, RequestOptions}

  @doc false
  @spec rows(Palladion.name(), term(), term(), keyword()) :: Enumerable.t()
  def rows(name, statement, values, options) do
    if options[:rows] == :columns do
      raise ArgumentError,
            "rows: :columns is one map for a page: use Palladion.pages/4, or another shape of rows"
    end

    stream(name, statement, values, options, & &1.rows)
  end

  @doc false
  @spec pages(Palladion.name(), term(), term(), keyword()) :: Enumerable.t()
  def pages(name, statement, values, options),
    do: stream(name, statement, values, options, &[&1])

  defp stream(name, statement, values, options, elements) do
    :ok = RequestOptions.check(options)
    {first, options} = Keyword.pop(options, :paging_state)
    ask = &apply(Request, &1, [name, statement, values, [paging_state: &2] ++ options])

    Stream.resource(fn -> {:wanted, first} end, &next(&1, ask, elements), &stop/1)
  end

  defp next(:done, _ask, _elements), do: {:halt, :done}

  defp next(place, ask, elements) do
    result = page(place, ask)
    {elements.(result), following(result.paging_state, ask)}
  end

  defp page({:wanted, state}, ask) do
    case ask.(:query, state) do
      {:ok, result} -> result
      {:error, exception} -> raise exception
    end
  end

  # What came of it while the page before was consumed is not the last word: nobody waited for it then.
  defp page({:under_way, pending, state}, ask) do
    case Request.await_prefetched(pending) do
      {:ok, result} -> result
      {:missed, _exception} -> page({:wanted, state}, ask)
      {:error, exception} -> raise exception
    end
  end

  defp following(nil, _ask), do: :done

  defp following(state, ask) do
    case ask.(:prefetch, state) do
      {:ok, pending} -> {:under_way, pending, state}
      # The page that has arrived comes first.
      :not_now -> {:wanted, state}
    end
  end

  # Also of what was awaited already: then it does nothing.
  defp stop({:under_way, pending, _state}), do: Request.cancel(pending)
  defp stop(_place), do: :ok
end
