defmodule Palladion.Config.ParametersTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.Parameters

  @supported [:"tlsv1.2", :"tlsv1.3"]

  defp parse(options) do
    [versions: @supported, ciphers: nil, supported_groups: nil]
    |> Keyword.merge(options)
    |> Map.new()
    |> Parameters.parse()
  end

  defp parse!(options) do
    assert {parameters, []} = parse(options)
    parameters
  end

  defp problem(options) do
    assert {_parameters, [problem]} = parse(options)
    {problem.path, problem.reason, problem.message}
  end

  test "all is allowed that there is" do
    assert parse!([]) == %{versions: @supported, cipher_suites: nil, groups: nil}
  end

  describe "versions" do
    test "are one of them or both" do
      assert parse!(versions: [:"tlsv1.3"]).versions == [:"tlsv1.3"]
      assert parse!(versions: [:"tlsv1.3", :"tlsv1.2", :"tlsv1.3"]).versions == @supported

      for bad <- [[], nil, :"tlsv1.2", ["tlsv1.2"], [:"tlsv1.4"], [:"tlsv1.2" | :"tlsv1.3"]] do
        assert {[:tls, :versions], :invalid_value, _} = problem(versions: bad)
      end
    end

    test "that are old are refused, with the reason" do
      for old <- [:sslv3, :tlsv1, :"tlsv1.1"] do
        assert {[:tls, :versions], :insecure_version, message} =
                 problem(versions: [:"tlsv1.2", old])

        assert message =~ "#{inspect(old)} is refused"
      end
    end
  end

  describe "ciphers" do
    test "have the names of IANA, of OpenSSL, and keep their order" do
      for {openssl, iana} <- [
            {"TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"},
            {"TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"},
            {"TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"},
            {"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
            {"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
            {"ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
            {"ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
            {"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
            {"ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"}
          ] do
        for name <- [openssl, iana, String.to_charlist(openssl)] do
          assert parse!(ciphers: [name]).cipher_suites == [iana]
        end

        assert iana in Parameters.cipher_names()
      end

      assert parse!(
               ciphers: [
                 "ECDHE-RSA-AES128-GCM-SHA256",
                 "TLS_AES_128_GCM_SHA256",
                 "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
               ]
             ).cipher_suites == [
               "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
               "TLS_AES_128_GCM_SHA256"
             ]
    end

    test "that are no good are refused, with the reason" do
      for {name, text} <- [
            {"TLS_RSA_WITH_AES_128_GCM_SHA256", "recorded"},
            {"AES256-GCM-SHA384", "recorded"},
            {"AES128-SHA", "recorded"},
            {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "CBC"},
            {"ECDHE-RSA-AES128-SHA256", "CBC"},
            {"ECDHE-ECDSA-AES256-SHA", "CBC"},
            {"TLS_DHE_RSA_WITH_AES_256_CBC_SHA", "CBC"},
            {"TLS_ECDHE_RSA_WITH_RC4_128_SHA", "RC4"},
            {"ECDHE-RSA-RC4-SHA", "RC4"},
            {"TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "64 bits"},
            {"DES-CBC3-SHA", "64 bits"},
            {"TLS_RSA_WITH_NULL_SHA256", "encrypts nothing"},
            {"TLS_DH_anon_WITH_AES_128_CBC_SHA", "no server"},
            {"AECDH-AES128-SHA", "no server"},
            {"EXP-RC4-MD5", "guessed"}
          ] do
        assert {[:tls, :ciphers, 1], :insecure_cipher, message} =
                 problem(ciphers: ["TLS_AES_128_GCM_SHA256", name])

        assert message =~ ~s("#{name}" is refused)
        assert message =~ text, "#{name}: #{message}"
      end

      # All of TLS 1.0 that OTP has.
      weak = :ssl.cipher_suites(:exclusive, :tlsv1)
      assert weak != []

      for suite <- weak, naming <- [:suite_to_str, :suite_to_openssl_str] do
        name = apply(:ssl, naming, [suite])
        assert {_, :insecure_cipher, _} = problem(ciphers: [name]), "#{name}"
      end
    end

    test "that are good, and not implemented, are told apart" do
      for name <- [
            "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
            "DHE-RSA-AES256-GCM-SHA384",
            "TLS_AES_128_CCM_SHA256",
            "ECDHE-ECDSA-AES256-CCM8"
          ] do
        assert {[:tls, :ciphers, 0], :unsupported_cipher, message} = problem(ciphers: [name])
        assert message =~ "TLS_AES_256_GCM_SHA384"
      end
    end

    test "that are misspelt are told what they may be" do
      for {name, meant} <- [
            {"TLS_AES_128_GCM_SHA265", "TLS_AES_128_GCM_SHA256"},
            {"tls_aes_128_gcm_sha256", "TLS_AES_128_GCM_SHA256"},
            {"ECDHE-RSA-AES128-GCM-SHA265", "ECDHE-RSA-AES128-GCM-SHA256"},
            {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA_256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}
          ] do
        assert {[:tls, :ciphers, 0], :invalid_value, message} = problem(ciphers: [name])
        assert message =~ ~s(did you mean "#{meant}"?)
      end
    end

    test "are a list of names" do
      for bad <- [[], "TLS_AES_128_GCM_SHA256", ~c"ECDHE+AESGCM", :all, ["a" | "b"]] do
        assert {[:tls, :ciphers], :invalid_value, _} = problem(ciphers: bad)
      end

      for bad <- [:aes_128_gcm, %{cipher: :aes_128_gcm}, <<255>>, {}] do
        assert {[:tls, :ciphers, 0], :invalid_value, message} = problem(ciphers: [bad])
        assert String.valid?(message)
      end
    end

    test "that fit no version would have no effect" do
      for {version, cipher} <- [
            {:"tlsv1.3", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
            {:"tlsv1.2", "TLS_AES_128_GCM_SHA256"}
          ] do
        assert {[:tls, :ciphers], :conflict, message} =
                 problem(versions: [version], ciphers: [cipher])

        assert message =~ cipher
        assert message =~ "versions:"
        assert parse!(ciphers: [cipher]).cipher_suites == [cipher]
      end
    end
  end

  describe "supported_groups" do
    test "are named as :ssl names them, and keep their order" do
      assert parse!(supported_groups: [:x25519mlkem768, :secp384r1, :secp256r1, :x25519]).groups ==
               ~w(x25519mlkem768 secp384r1 secp256r1 x25519)

      assert parse!(supported_groups: [:x25519, :x25519]).groups == ["x25519"]
    end

    test "that TLS 1.2 doesn't have would have no effect without 1.3" do
      groups = [:x25519, :x25519mlkem768]

      for options <- [
            [versions: [:"tlsv1.2"]],
            [ciphers: ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]]
          ] do
        assert {[:tls, :supported_groups], :conflict, message} =
                 problem([supported_groups: groups] ++ options)

        assert message =~ "TLS 1.3"
        assert parse!([supported_groups: [:x25519]] ++ options).groups == ["x25519"]
      end

      assert parse!(supported_groups: groups, ciphers: ["TLS_AES_128_GCM_SHA256"])
    end

    test "that are unknown are told what they may be" do
      for {bad, reason, text} <- [
            {:x25591, :invalid_value, "did you mean :x25519?"},
            {"x25519", :invalid_value, "did you mean :x25519?"},
            {:prime256v1, :invalid_value, "did you mean :secp256r1?"},
            {:"P-384", :invalid_value, "did you mean :secp384r1?"},
            {"P-256", :invalid_value, "did you mean :secp256r1?"},
            {:secp521r1, :unsupported_group, "not implemented"},
            {:ffdhe2048, :unsupported_group, "not implemented"},
            {:anything, :invalid_value, "there are :x25519, "},
            {7, :invalid_value, "there are :x25519, "}
          ] do
        assert {[:tls, :supported_groups, 1], ^reason, message} =
                 problem(supported_groups: [:x25519, bad])

        assert message =~ text
      end

      for bad <- [[], :x25519, [:x25519 | :secp256r1]] do
        assert {[:tls, :supported_groups], :invalid_value, _} = problem(supported_groups: bad)
      end
    end
  end
end
