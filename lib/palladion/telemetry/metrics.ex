defmodule Palladion.Telemetry.Metrics do
  @moduledoc false
  # Metrics as data. Their tags have few values each: no statement, no error's text.

  # In seconds, as OpenTelemetry advises for durations of databases.
  @buckets [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

  @seconds {:native, :second}
  @milliseconds {:native, :millisecond}

  @metrics [
    {:summary, [:palladion, :query, :stop], :duration, @milliseconds, [:cluster, :summary],
     "How long requests take"},
    {:distribution, [:palladion, :query, :stop], :duration, @seconds,
     [:cluster, :operation, :collection, :reason], "How long requests take, in buckets"},
    {:counter, [:palladion, :query, :stop], :duration, :unit, [:cluster, :result, :reason],
     "Requests, by how they ended"},
    {:summary, [:palladion, :prepare, :stop], :duration, @milliseconds, [:cluster],
     "How long it takes to prepare"},
    {:counter, [:palladion, :query, :slow], :duration, :unit, [:cluster, :summary],
     "Slow requests"},
    {:counter, [:palladion, :query, :retry], :system_time, :unit, [:cluster, :decision, :reason],
     "Failed attempts"},
    {:sum, [:palladion, :query, :warnings], :count, :unit, [:cluster, :summary],
     "Warnings of servers"},
    {:counter, [:palladion, :overload], :system_time, :unit, [:cluster, :reason],
     "Requests refused because a queue was full"},
    {:counter, [:palladion, :node, :down], :system_time, :unit, [:cluster, :datacenter],
     "Nodes that could not be reached any more"},
    {:summary, [:palladion, :connection, :opened], :duration, @milliseconds,
     [:cluster, :handshake], "How long it takes to open a connection"},
    {:counter, [:palladion, :connection, :failed], :system_time, :unit, [:cluster, :reason],
     "Connections that could not be opened"},
    {:counter, [:palladion, :connection, :closed], :duration, :unit, [:cluster, :reason],
     "Connections that ended"},
    {:summary, [:palladion, :handshake, :stop], :duration, @milliseconds,
     [:cluster, :resumed?, :tls_version], "How long TLS handshakes take"},
    {:counter, [:palladion, :handshake, :failed], :duration, :unit, [:cluster, :reason],
     "TLS handshakes that failed"},
    {:sum, [:palladion, :session_cache, :refused], :count, :unit, [:cluster],
     "Resumed TLS sessions whose certificate no longer passed"},
    {:counter, [:palladion, :tls, :reload_failed], :duration, :unit,
     [:cluster, :trigger, :reason], "TLS configurations that could not be used"},
    {:last_value, [:palladion, :certificate, :expiring], :remaining, @seconds,
     [:cluster, :certificate, :subject, :endpoint], "How long certificates are still valid"},
    {:counter, [:palladion, :login, :refused], :system_time, :unit, [:cluster, :reason],
     "Refused logins"},
    {:last_value, [:palladion, :pool, :changed], :open, :unit, [:cluster, :endpoint],
     "Open connections of a node"},
    {:last_value, [:palladion, :pool, :changed], :wanted, :unit, [:cluster, :endpoint],
     "Connections that a node should have"},
    {:last_value, [:palladion, :topology, :refreshed], :nodes, :unit, [:cluster],
     "Nodes of the cluster"},
    {:sum, [:palladion, :events, :dropped], :count, :unit, [:cluster], "Events that were dropped"}
  ]

  @doc false
  def all do
    for {kind, event, measurement, unit, tags, description} <- @metrics do
      metric = %{
        kind: kind,
        # Metrics are told apart by their names: counted is not measured.
        name: event ++ [if(kind == :counter, do: :count, else: measurement)],
        event_name: event,
        measurement: measurement,
        unit: unit,
        tags: tags,
        description: description
      }

      if kind == :distribution,
        do: Map.put(metric, :reporter_options, buckets: @buckets),
        else: metric
    end
  end
end
