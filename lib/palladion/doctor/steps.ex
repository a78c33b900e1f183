defmodule Palladion.Doctor.Steps do
  @moduledoc false
  # Internal: what was seen becomes the steps of a report. Always all of them and in one order;
  # those that were not reached say so.

  alias Palladion.Doctor.{CQLSteps, Observations, Stage, Step, TLSSteps}

  @doc false
  @spec build(Observations.t()) :: [Step.t(), ...]
  def build(%Observations{} = seen) do
    main = Observations.main_probe(seen)

    ([dns(seen), tcp(seen)] ++ TLSSteps.build(seen, main) ++ CQLSteps.build(seen, main))
    |> place_error(seen, main)
  end

  # DNS

  defp dns(%{resolution: {:error, reason}} = seen) do
    detail = reason |> :inet.format_error() |> List.to_string()
    Step.failed(:dns, {:dns_failed, %{detail: detail}}, data: dns_data([], seen))
  end

  defp dns(%{resolution: {:ok, [address]}, host: address} = seen),
    do: Step.new(:dns, :ok, "not needed for an address", data: dns_data([address], seen))

  defp dns(%{resolution: {:ok, addresses}} = seen) do
    summary = "#{count(addresses, "address", "addresses")} in #{Step.time(seen.resolution_us)}"
    Step.new(:dns, :ok, summary, lines: addresses, data: dns_data(addresses, seen))
  end

  defp dns_data(addresses, seen),
    do: [addresses: addresses, duration_us: seen.resolution_us]

  # TCP

  defp tcp(%{dials: []}), do: Step.not_reached(:tcp)

  defp tcp(%{dials: dials} = seen) do
    fields = [
      lines: Enum.map(dials, &dial_line/1),
      data: [addresses: Enum.map(dials, &dial_data/1)]
    ]

    {open, closed} = Enum.split_with(dials, &match?({_address, :ok, _us}, &1))

    case {open, closed} do
      {[], [{_address, {:error, reason}, _us} | _]} ->
        Step.failed(:tcp, dial_failure(reason), fields)

      {_open, []} ->
        Step.new(:tcp, :ok, "port #{seen.port} is open", fields)

      {_open, _closed} ->
        summary = "port #{seen.port} is open at #{length(open)} of #{length(dials)} addresses"

        advice =
          "Palladion tries the addresses in turn, and loses time with those that don't answer. " <>
            "What follows is about #{seen.address}."

        Step.new(:tcp, :warning, summary, [advice: advice] ++ fields)
    end
  end

  defp dial_line({address, :ok, us}), do: "#{address}: connected in #{Step.time(us)}"

  defp dial_line({address, {:error, reason}, us}),
    do: "#{address}: #{Step.text(dial_failure(reason))}, after #{Step.time(us)}"

  defp dial_data({address, result, us}) do
    reason = with {:error, reason} <- result, do: reason |> dial_failure() |> elem(0)
    [address: address, result: reason, duration_us: us]
  end

  defp dial_failure(:econnrefused), do: {:connection_refused, %{}}
  defp dial_failure(:timeout), do: {:connect_timeout, %{}}
  defp dial_failure(:etimedout), do: {:connect_timeout, %{}}
  defp dial_failure(reason) when reason in [:ehostunreach, :enetunreach], do: {:unreachable, %{}}

  defp dial_failure(reason),
    do: {:connect_failed, %{detail: reason |> :inet.format_error() |> List.to_string()}}

  defp count([_], one, _many), do: "1 #{one}"
  defp count(list, _one, many), do: "#{length(list)} #{many}"

  # What stopped the probe is the problem of the step that it belongs to, whatever else was seen there.
  defp place_error(steps, seen, %{error: {kind, _details} = error} = main) do
    stage = Stage.of(kind, main, seen.settings.tls)

    Enum.map(steps, fn
      %Step{id: ^stage, status: status} = step when status != :problem ->
        Step.failed(stage, error, [lines: step.lines, data: step.data] ++ advice(stage, kind))

      step ->
        step
    end)
  end

  defp place_error(steps, _seen, _main), do: steps

  # A cluster's advice would be to wait; here nothing has ever spoken CQL.
  defp advice(:protocol, kind)
       when kind in [:connection_closed, :connection_lost, :login_timeout] do
    [
      advice:
        "Is this port Cassandra's, and not another service's? The server's log may say more."
    ]
  end

  defp advice(_stage, _kind), do: []
end
