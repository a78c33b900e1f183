defmodule Palladion.Telemetry.Log do
  @moduledoc false
  # The handler behind `attach_default_logger/1`: an event, a line.

  require Logger

  @groups [
    requests: [
      [:palladion, :query, :stop],
      [:palladion, :query, :exception],
      [:palladion, :query, :slow],
      [:palladion, :query, :warnings],
      [:palladion, :prepare, :stop],
      [:palladion, :prepare, :exception],
      [:palladion, :overload]
    ],
    retries: [[:palladion, :query, :retry]],
    nodes: for(suffix <- [:added, :removed, :up, :down, :moved], do: [:palladion, :node, suffix]),
    connections: [
      [:palladion, :connection, :opened],
      [:palladion, :connection, :failed],
      [:palladion, :connection, :closed],
      [:palladion, :login, :refused],
      [:palladion, :auth, :updated],
      [:palladion, :credentials, :failed],
      [:palladion, :protocol, :lowered],
      [:palladion, :events, :dropped]
    ],
    tls: [
      [:palladion, :handshake, :failed],
      [:palladion, :session_cache, :refused],
      [:palladion, :tls, :reloaded],
      [:palladion, :tls, :reload_failed],
      [:palladion, :certificate, :expiring]
    ]
  ]

  # The cluster itself logs what happens to nodes, connections and certificates, and not each time.
  @default [:requests, :retries]

  @levels [:emergency, :alert, :critical, :error, :warning, :notice, :info, :debug]
  @longest_text 500

  @doc false
  # `{events, config}`
  def options(level) when is_atom(level), do: options(level: level)

  def options(options) do
    unless Keyword.keyword?(options) and Enum.all?(options, &valid?/1) do
      raise ArgumentError,
            "the default logger takes a level, or the options level: (a level) and only: " <>
              "(a list of #{Enum.map_join(Keyword.keys(@groups), ", ", &inspect/1)})"
    end

    groups = Keyword.get(options, :only, @default)
    {Enum.flat_map(groups, &Keyword.fetch!(@groups, &1)), %{level: options[:level]}}
  end

  defp valid?({:level, level}), do: level in @levels

  defp valid?({:only, [_ | _] = groups}),
    do: groups == Enum.uniq(groups) and groups -- Keyword.keys(@groups) == []

  defp valid?(_other), do: false

  @doc false
  def handle([:palladion | event], measurements, metadata, config) do
    with {level, text} <- line(event, measurements, metadata) do
      level = config.level || level
      Logger.log(level, fn -> "Palladion #{inspect(metadata.cluster)}: #{one_line(text)}" end)
    end

    :ok
  end

  # ---- requests

  defp line([kind, :stop], measurements, %{error: error} = request)
       when kind in [:query, :prepare] and error != nil do
    tried =
      if is_integer(request.attempts) and request.attempts > 1,
        do: ", #{request.attempts} attempts"

    {:warning,
     "#{kind} failed after #{ms(measurements.duration)}#{tried}#{coordinator(request)}: " <>
       "#{subject(request)}: #{message(error)}"}
  end

  defp line([kind, :exception], measurements, request) do
    {:warning,
     "#{kind} raised #{inspect(request.reason)} after #{ms(measurements.duration)}: " <>
       subject(request)}
  end

  # A failed one has its line with the same duration already.
  defp line([:query, :slow], measurements, %{result: :ok} = request) do
    {:warning,
     "slow request, #{ms(measurements.duration)} of #{ms(measurements.threshold)}" <>
       "#{coordinator(request)}: #{subject(request)}"}
  end

  defp line([:query, :retry], _measurements, retry) do
    {:info,
     "attempt #{retry.attempt} failed#{coordinator(retry)}, #{inspect(retry.decision)}: " <>
       "#{retry.summary || "statement"}: #{message(retry.error)}"}
  end

  defp line([:query, :warnings], _measurements, %{warnings: [_ | _] = warnings} = request) do
    {:warning,
     "the server warns#{coordinator(request)}: #{request.summary || "statement"}: " <>
       Enum.map_join(warnings, "; ", &show/1)}
  end

  defp line([:overload], _measurements, %{reason: reason, summary: summary}) do
    {:warning, "request refused, #{inspect(reason)}: #{summary || "statement"}"}
  end

  # ---- nodes and connections

  defp line([:node, change], _measurements, node) do
    {level, text} =
      case change do
        :added -> {:info, "node found"}
        :removed -> {:info, "node removed"}
        :up -> {:info, "node up"}
        :down -> {:warning, "node down"}
        :moved -> {:info, "node moved"}
      end

    place = [node.datacenter, node.rack] |> Enum.reject(&is_nil/1) |> Enum.map_join("/", &show/1)
    place = if place == "", do: "", else: " in #{place}"
    {level, "#{text}: #{at(node)}#{place}, host_id #{show(node.host_id)}"}
  end

  defp line([:connection, :opened], measurements, connection) do
    tls =
      if connection.tls_version do
        "TLS #{show(connection.tls_version)} #{connection.handshake}, for " <>
          show(connection.verified_name)
      else
        "without TLS"
      end

    {:info,
     "#{role(connection)} to #{at(connection)} opened in #{ms(measurements.duration)} (#{tls})"}
  end

  defp line([:connection, :failed], _measurements, connection) do
    next = if connection.retry_in, do: " Next attempt in #{connection.retry_in} ms."
    {:warning, "#{role(connection)} failed: #{message(connection.error)}#{next}"}
  end

  # Without an error it was we who closed it.
  defp line([:connection, :closed], measurements, %{error: nil} = connection) do
    {:info, "#{role(connection)} to #{at(connection)} closed after #{ms(measurements.duration)}"}
  end

  defp line([:connection, :closed], measurements, connection) do
    {:warning,
     "#{role(connection)} lost after #{ms(measurements.duration)}: #{message(connection.error)}"}
  end

  defp line([:login, :refused], _measurements, login) do
    {:warning, "login refused: #{message(login.error)}"}
  end

  defp line([:auth, :updated], _measurements, _metadata) do
    {:info, "auth: updated, for logins from now on"}
  end

  defp line([:credentials, :failed], _measurements, credentials) do
    {:warning, "AWS credentials not renewed: #{message(credentials.error)}"}
  end

  defp line([:protocol, :lowered], _measurements, lowered) do
    {:warning,
     "protocol version #{lowered.protocol_version} instead of " <>
       "#{lowered.previous_protocol_version}: #{show(lowered.endpoint)} speaks no newer one"}
  end

  defp line([:events, :dropped], measurements, _metadata) do
    {:warning, "#{measurements.count} events dropped"}
  end

  # ---- TLS

  defp line([:handshake, :failed], measurements, handshake) do
    {:warning,
     "TLS handshake of a #{role(handshake)} failed after #{ms(measurements.duration)}: " <>
       message(handshake.error)}
  end

  defp line([:session_cache, :refused], measurements, sessions) do
    {:warning,
     "the certificate of #{show(sessions.endpoint)} no longer passed when its TLS session was " <>
       "resumed, #{measurements.count} refused"}
  end

  defp line([:tls, :reloaded], measurements, reload) do
    {:info, "TLS reloaded#{by(reload)}, all connections replaced in #{ms(measurements.duration)}"}
  end

  defp line([:tls, :reload_failed], _measurements, reload) do
    {:warning, "TLS not reloaded#{by(reload)}: #{message(reload.error)}"}
  end

  defp line([:certificate, :expiring], measurements, certificate) do
    whose =
      case certificate.certificate do
        :server -> "the certificate of #{show(certificate.endpoint)}"
        :client -> "our own certificate #{show(certificate.subject)}"
        _authority -> "the trusted authority #{show(certificate.subject)}"
      end

    {:warning, "#{whose} #{expires(measurements.remaining)}"}
  end

  defp line(_uneventful, _measurements, _metadata), do: :none

  # ---- parts of lines

  defp subject(%{parameterised?: true, statement: statement}) when is_binary(statement),
    do: show(statement)

  defp subject(request), do: request.summary || "a statement that is not shown"

  defp coordinator(%{address: nil}), do: ""
  defp coordinator(request), do: " at #{at(request)}"

  defp at(%{endpoint: endpoint}) when is_binary(endpoint), do: show(endpoint)
  defp at(%{address: nil, host_id: host_id}), do: "node #{show(host_id)}"
  defp at(%{address: nil}), do: "an unknown address"
  defp at(%{address: address, port: nil}), do: show(address)

  defp at(%{address: address, port: port}) do
    if address =~ ":", do: "[#{show(address)}]:#{port}", else: "#{show(address)}:#{port}"
  end

  defp role(%{role: :control}), do: "control connection"
  defp role(_pool), do: "connection"

  defp expires(remaining) when remaining < 0, do: "has expired"

  defp expires(remaining) do
    seconds = System.convert_time_unit(remaining, :native, :second)
    "expires in #{div(seconds, 86_400)} days"
  end

  defp by(%{trigger: :watch}), do: " because a file has changed"
  defp by(_call), do: ""

  defp message(error) when is_exception(error), do: Exception.message(error)
  defp message(_none), do: "no reason given"

  defp show(nil), do: "unknown"

  # Bytes that are no text are written as such.
  defp show(text) do
    if String.printable?(text), do: shorten(text), else: inspect(text)
  end

  defp shorten(text) do
    case String.split_at(text, @longest_text) do
      {whole, ""} -> whole
      {beginning, _rest} -> beginning <> "…"
    end
  end

  # What others sent can't write lines of its own.
  defp one_line(text), do: String.replace(text, ~r/\s*[\x00-\x1F\x7F]+\s*/, " ")

  defp ms(native) do
    microseconds = System.convert_time_unit(native, :native, :microsecond)

    if microseconds < 100_000,
      do: "#{microseconds / 1000} ms",
      else: "#{div(microseconds, 1000)} ms"
  end
end
