defmodule Palladion.Doctor.TLSSteps do
  @moduledoc false
  # Internal: the steps about TLS: versions, the server's chain, its verification, our own
  # certificate, resumption.

  alias Palladion.Certificate
  alias Palladion.Doctor.{Observations, Stage, Step}

  @titles %{
    "tlsv1.3": "TLS 1.3",
    "tlsv1.2": "TLS 1.2",
    "tlsv1.1": "TLS 1.1",
    tlsv1: "TLS 1.0"
  }

  @ids [:tls, :chain, :trust, :name, :client_certificate, :resumption]

  @doc false
  @spec build(Observations.t(), Observations.probe() | nil) :: [Step.t(), ...]
  def build(_seen, nil), do: Enum.map(@ids, &Step.not_reached/1)
  def build(%{settings: %{tls: false}}, _main), do: Enum.map(@ids, &without_tls/1)

  def build(seen, main) do
    [
      versions(seen, main),
      chain(seen, main.tls),
      trust(seen.settings, main.tls),
      name(seen.settings, main.tls),
      client_certificate(seen.settings, main),
      resumption(seen)
    ]
  end

  defp without_tls(:tls) do
    Step.new(:tls, :warning, "off: whoever is on the way reads and changes requests and answers",
      advice: "Leave tls: false (--no-tls) out where the server has TLS."
    )
  end

  defp without_tls(id), do: Step.new(id, :skipped, "there is none without TLS", reason: :no_tls)

  # Versions

  defp versions(seen, main) do
    fields = [
      lines: Enum.map(seen.probes, &version_line/1) ++ Enum.map(seen.old_versions, &old_line/1),
      data: [
        versions:
          Enum.map(seen.probes, &version_data/1) ++ Enum.map(seen.old_versions, &old_data/1)
      ]
    ]

    accepted = for {version, probe} <- seen.probes, accepted?(probe), do: version
    old = for {version, :accepted} <- seen.old_versions, do: version

    case Enum.find(seen.settings.versions, &(&1 in accepted)) do
      nil -> refused(refusal(seen), main, fields)
      _version when old == [] -> Step.new(:tls, :ok, titles(accepted), fields)
      _version -> old_warning(accepted, old, fields)
    end
  end

  # One whose handshake ended for the certificates' sake was accepted.
  defp accepted?(%{tls: nil, error: {kind, _details}} = probe),
    do: Stage.of(kind, probe, true) in [:trust, :name, :client_certificate]

  defp accepted?(%{tls: tls}), do: tls != nil

  # What is another step's problem is told there.
  defp refused({kind, _details} = error, main, fields) do
    if error == main.error and Stage.of(kind, main, true) != :tls,
      do: Step.not_reached(:tls),
      else: Step.failed(:tls, error, Keyword.update!(fields, :lines, &without(&1, error)))
  end

  # What the summary says isn't said again of each version.
  defp without(lines, error) do
    summary = Step.text(error)
    Enum.reject(lines, &String.ends_with?(&1, ": " <> summary))
  end

  # A server that has one version only refuses the other: what it says to its own tells more.
  defp refusal(seen) do
    errors =
      for version <- seen.settings.versions,
          {_kind, _details} = error <- [seen.probes[version] && seen.probes[version].error],
          do: error

    Enum.find(errors, &(not match?({:tls_version, _}, &1))) ||
      List.first(errors) || {:tls_version, %{}}
  end

  defp old_warning(accepted, old, fields) do
    advice =
      "Palladion speaks no such version, but other clients may. Have the server refuse it: " <>
        "client_encryption_options: accepted_protocols in cassandra.yaml, or " <>
        "jdk.tls.disabledAlgorithms in its java.security."

    summary = "#{titles(accepted)}, but also the insecure #{titles(old)}"
    Step.new(:tls, :warning, summary, [advice: advice] ++ fields)
  end

  defp version_line({version, %{tls: %{handshake: kind} = tls}}) when kind != nil do
    parts = [tls.cipher, tls.group, "#{handshake(kind)} in #{Step.time(tls.duration_us)}"]
    "#{@titles[version]}: #{parts |> Enum.reject(&is_nil/1) |> Enum.join(", ")}"
  end

  defp version_line({version, probe}) do
    told = if accepted?(probe), do: "accepted, but ", else: ""
    "#{@titles[version]}: #{told}#{failure(probe)}"
  end

  defp failure(%{error: {:tls_version, _details}}), do: "refused"
  defp failure(%{error: {_kind, _details} = error}), do: Step.text(error)

  # It has shown its certificates, which were refused, and so the handshake wasn't tried with ours.
  defp failure(%{tls: %{client_certificate_requested: true}}),
    do: "without a client certificate the server doesn't finish the handshake"

  defp failure(_probe), do: "the handshake was not finished"

  defp handshake(:full_with_hello_retry_request),
    do: "full handshake, with one more round trip to agree on a group,"

  defp handshake(:resumed), do: "resumed handshake"
  defp handshake(_full), do: "full handshake"

  defp version_data({version, probe}) do
    [version: version, accepted: accepted?(probe)] ++
      case probe do
        %{tls: %{handshake: kind} = tls} when kind != nil ->
          for key <- [:cipher, :group, :handshake, :duration_us], do: {key, tls[key]}

        %{error: {kind, _details} = error} ->
          [reason: kind, detail: Step.text(error)]

        _unfinished ->
          [detail: failure(probe)]
      end
  end

  defp old_line({version, :accepted}), do: "#{@titles[version]}: accepted, and insecure"
  defp old_line({version, :refused}), do: "#{@titles[version]}: refused, as it should be"
  defp old_line({version, {:unknown, why}}), do: "#{@titles[version]}: unknown, #{why}"

  defp old_data({version, {:unknown, why}}), do: [version: version, accepted: nil, detail: why]
  defp old_data({version, result}), do: [version: version, accepted: result == :accepted]

  defp titles(versions), do: versions |> Enum.map(&@titles[&1]) |> Step.list()

  # Chain

  defp chain(_seen, tls) when tls == nil or tls.certificates == [], do: Step.not_reached(:chain)

  defp chain(seen, tls) do
    chain = Enum.map(tls.certificates, &Certificate.read/1)
    # The worst of them.
    validity = chain |> Enum.map(&Certificate.validity(&1, seen.time)) |> Enum.min_by(&rank/1)

    fields = [
      lines: chain |> Enum.with_index(1) |> Enum.flat_map(&certificate_lines(&1, seen.time)),
      data: [certificates: Enum.map(chain, &certificate_data(&1, seen.time))]
    ]

    summary = "#{certificates(chain)}#{lifetime(validity)}"
    {status, advice} = judge(validity, seen.settings.expiry_warning, tls.verdict)
    Step.new(:chain, status, summary, [advice: advice] ++ fields)
  end

  defp rank({:expired, days}), do: {0, -days}
  defp rank(:not_yet), do: {1, 0}
  defp rank({:left, days}), do: {2, days}
  defp rank(:unknown), do: {3, 0}

  defp judge({:left, days}, limit, _verdict) when is_integer(limit) and days < limit do
    {:warning, "Renew it in time: once it has expired, no connection is made with it."}
  end

  defp judge({:expired, _days}, _limit, :ok),
    do: {:warning, "Renew it: whoever verifies it refuses to connect."}

  defp judge(:not_yet, _limit, :ok),
    do: {:warning, "Check the clocks: whoever verifies it refuses to connect."}

  # The step of the verdict has the advice.
  defp judge({:expired, _days}, _limit, _verdict), do: {:warning, nil}
  defp judge(:not_yet, _limit, _verdict), do: {:warning, nil}
  defp judge(_validity, _limit, _verdict), do: {:ok, nil}

  defp certificates([_]), do: "1 certificate"
  defp certificates(chain), do: "#{length(chain)} certificates"

  defp lifetime(:unknown), do: ""
  defp lifetime({:left, days}), do: ", valid for #{days(days)}"
  defp lifetime(validity), do: ", #{told(validity)}"

  defp told({:left, days}), do: "#{days(days)} left"
  defp told({:expired, 0}), do: "expired less than a day ago"
  defp told({:expired, days}), do: "expired #{days(days)} ago"
  defp told(:not_yet), do: "not valid yet"

  defp days(1), do: "1 day"
  defp days(days), do: "#{days} days"

  defp certificate_lines({%{subject: nil} = certificate, number}, _now) do
    ["#{number}. can't be decoded", "   sha256:   #{certificate.fingerprint}"]
  end

  defp certificate_lines({certificate, number}, now) do
    version = if certificate.version, do: ", X.509 v#{certificate.version}", else: ""
    issuer = if certificate.self_issued?, do: "itself", else: certificate.issuer || "unknown"

    [
      "#{number}. #{certificate.subject}",
      "   issuer:   #{issuer}",
      "   names:    #{names(certificate.names)}",
      "   key:      #{certificate.key || "unknown"}#{version}",
      "   validity: #{validity(certificate, now)}",
      "   sha256:   #{certificate.fingerprint}"
    ]
  end

  defp names([]), do: "none"
  defp names(names), do: Enum.map_join(names, ", ", fn {_kind, name} -> name end)

  defp validity(certificate, now) do
    case Certificate.validity(certificate, now) do
      :unknown ->
        "unknown"

      validity ->
        "#{date(certificate.not_before)} to #{date(certificate.not_after)}, #{told(validity)}"
    end
  end

  defp date(seconds), do: seconds |> DateTime.from_unix!() |> DateTime.to_date()

  defp certificate_data(certificate, now) do
    [
      subject: certificate.subject,
      issuer: certificate.issuer,
      names: for({kind, name} <- certificate.names, do: [kind: kind, name: name]),
      key: certificate.key,
      version: certificate.version,
      not_before: iso8601(certificate.not_before),
      not_after: iso8601(certificate.not_after),
      days_left: Certificate.days_left(certificate, now),
      sha256: certificate.fingerprint
    ]
  end

  defp iso8601(nil), do: nil
  defp iso8601(seconds), do: seconds |> DateTime.from_unix!() |> DateTime.to_iso8601()

  # Verification

  defp trust(_settings, nil), do: Step.not_reached(:trust)

  defp trust(%{verify: :none}, _tls) do
    Step.new(:trust, :warning, "not verified: an attacker can take the server's place",
      advice: "Leave verify: :verify_none (--no-verify) out, and give cacertfile: or pinned:."
    )
  end

  defp trust(_settings, tls) do
    case failed_check(tls.verdict) do
      :trust -> Step.failed(:trust, tls.verdict)
      _ok_or_name -> Step.new(:trust, :ok, "the certificate is trusted")
    end
  end

  defp name(_settings, nil), do: Step.not_reached(:name)

  defp name(%{verify: :none}, _tls),
    do: Step.new(:name, :skipped, "not checked, for nothing is verified")

  defp name(%{verified_name: false}, _tls) do
    Step.new(
      :name,
      :warning,
      "not checked: whoever has a certificate of the same authority can take the server's place",
      advice: "Give the server's name as verify_hostname: instead of false."
    )
  end

  defp name(settings, tls) do
    name = tls.verified_name || settings.verified_name
    data = [name: name, sni: tls.sni]

    case failed_check(tls.verdict) do
      :name -> Step.failed(:name, tls.verdict, data: data)
      :trust -> Step.new(:name, :skipped, "not checked, for it isn't trusted", data: data)
      nil -> Step.new(:name, :ok, "the certificate is for #{name}", data: data)
    end
  end

  # The name is the last that is looked at.
  defp failed_check(:ok), do: nil

  defp failed_check({kind, _details}) do
    if Stage.of(kind, %{connect_us: nil}, true) == :name, do: :name, else: :trust
  end

  # Client certificate

  defp client_certificate(_settings, %{tls: nil}), do: Step.not_reached(:client_certificate)

  defp client_certificate(settings, %{tls: tls}) do
    asked? = tls.client_certificate_requested
    sent? = tls.client_certificate_sent
    data = [requested: asked?, sent: sent?]

    {status, text} =
      case {asked?, sent?, settings.client_certificate} do
        {true, true, _} ->
          {:ok, "asked for, and sent"}

        {true, false, false} when tls.handshake == nil ->
          {:warning, "needed, and none is configured"}

        {true, false, false} ->
          {:ok, "asked for; none is configured"}

        {true, false, true} ->
          {:skipped, "asked for, and not sent to a server that isn't verified"}

        {false, _, true} ->
          {:ok, "not asked for; the configured one isn't used"}

        {false, _, false} ->
          {:ok, "not asked for"}
      end

    Step.new(:client_certificate, status, text, data: data)
  end

  # Resumption

  defp resumption(seen) do
    tried = for {version, %{resumption: %{} = result}} <- seen.probes, do: {version, result}
    resumed = for {version, %{handshake: :resumed}} <- tried, do: version

    fields = [
      lines: Enum.map(tried, &resumption_line/1),
      data: [versions: Enum.map(tried, &resumption_data/1)]
    ]

    cond do
      tried == [] and Observations.refused?(seen) ->
        Step.not_verified(:resumption)

      tried == [] ->
        Step.not_reached(:resumption)

      resumed == [] and seen.settings.session_cache ->
        advice =
          "Every connection costs a full handshake. Look at the server's settings of its session " <>
            "cache and tickets; session_cache: false saves the attempt."

        Step.new(
          :resumption,
          :warning,
          "the server resumes no session",
          [advice: advice] ++ fields
        )

      resumed == [] ->
        Step.new(:resumption, :ok, "the server resumes no session", fields)

      true ->
        off = if seen.settings.session_cache, do: "", else: "; the session cache is off"
        Step.new(:resumption, :ok, "with #{titles(resumed)}#{off}", fields)
    end
  end

  defp resumption_line({version, seen}) do
    "#{@titles[version]}: #{tickets(version, seen.tickets)}, #{second(seen)}"
  end

  defp tickets(:"tlsv1.2", 0), do: "no session"
  defp tickets(:"tlsv1.2", _one), do: "a session"
  defp tickets(_version, 1), do: "1 ticket"
  defp tickets(_version, number), do: "#{number} tickets"

  defp second(%{error: {_kind, _details} = error}),
    do: "the second connection failed: #{Step.text(error)}"

  defp second(%{handshake: :resumed}), do: "the second handshake was resumed"
  defp second(%{handshake: nil}), do: "no second handshake"
  defp second(_full), do: "the second handshake was a full one"

  defp resumption_data({version, seen}) do
    reason = with {kind, _details} <- seen.error, do: kind
    [version: version, tickets: seen.tickets, handshake: seen.handshake, reason: reason]
  end
end
