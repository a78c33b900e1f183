defmodule Palladion.Doctor.Report do
  @moduledoc """
  What `Palladion.Doctor` found at one endpoint.

  ## Fields

    * `host`, `port` - the endpoint
    * `address` - the one that was connected to, or `nil` where none answered
    * `time` - when, as a `DateTime`
    * `steps` - everything that was looked at, always in the same order; of each
      * `id` - `:dns`, `:tcp`, `:tls`, `:chain`, `:trust`, `:name`, `:client_certificate`,
        `:resumption`, `:protocol`, `:authenticator`, `:login`
      * `status` - `:ok`, `:warning` (worth a look, but connections can be made), `:problem` or
        `:skipped`
      * `summary`, `lines` - for a reader
      * `reason` - of a problem that of `Palladion.ConnectionError`; of what was skipped
        `:not_reached`, `:not_verified`, `:no_tls`, `:no_login` or `nil`
      * `advice` - what to do, or `nil`
      * `data` - a keyword list with what `lines` says, for a program

  Nothing in it is secret: no password, no key.
  """

  alias Palladion.Doctor.{JSON, Observations, Steps, Text}

  @enforce_keys [:host, :port, :address, :time, :steps]
  defstruct [:host, :port, :address, :time, :steps]

  @type t :: %__MODULE__{
          host: String.t(),
          port: :inet.port_number(),
          address: String.t() | nil,
          time: DateTime.t(),
          steps: [map(), ...]
        }

  @doc false
  @spec build(Observations.t()) :: t()
  def build(%Observations{} = seen) do
    %__MODULE__{
      host: seen.host,
      port: seen.port,
      address: seen.address,
      time: DateTime.from_unix!(seen.time),
      steps: Steps.build(seen)
    }
  end

  @doc """
  Whether no step found a problem. Takes one report or a list.

      Palladion.Doctor.Report.ok?(Palladion.Doctor.run("db1.example"))
  """
  @spec ok?(t() | [t()]) :: boolean()
  def ok?(reports) do
    reports |> List.wrap() |> Enum.flat_map(& &1.steps) |> Enum.all?(&(&1.status != :problem))
  end

  @doc """
  The exit code for a script: 0 where `ok?/1`, else 1.
  """
  @spec exit_code(t() | [t()]) :: 0 | 1
  def exit_code(reports), do: if(ok?(reports), do: 0, else: 1)

  @doc """
  The report for a reader, without a line end. Takes one report or a list.

  What the server sent is in it with characters escaped that would do anything to a terminal.
  """
  @spec to_text(t() | [t()]) :: String.t()
  def to_text(reports), do: reports |> List.wrap() |> Enum.map_join("\n\n", &Text.format/1)

  @doc """
  The report for a program: one JSON object in one line, without a line end.

      {"ok": false, "endpoints": [{"host": "db1.example", "port": 9042, "address": "10.0.0.1",
       "time": "2026-01-01T00:00:00Z", "ok": false, "steps": [{"id": "dns", "status": "ok",
       "summary": "1 address in 0.4 ms", "reason": null, "advice": null, "data": {...}}, ...]}]}

  Takes one report or a list; `endpoints` is a list in any case.
  """
  @spec to_json(t() | [t()]) :: String.t()
  def to_json(reports) do
    reports = List.wrap(reports)
    JSON.encode(ok: ok?(reports), endpoints: Enum.map(reports, &endpoint/1))
  end

  defp endpoint(report) do
    [
      host: report.host,
      port: report.port,
      address: report.address,
      time: DateTime.to_iso8601(report.time),
      ok: ok?(report),
      steps: Enum.map(report.steps, &step/1)
    ]
  end

  defp step(step) do
    [
      id: step.id,
      status: step.status,
      summary: step.summary,
      reason: step.reason,
      advice: step.advice,
      # An object, also where there is nothing in it.
      data: if(step.data == [], do: %{}, else: step.data)
    ]
  end
end
